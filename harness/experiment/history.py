"""Records a finished run in the history."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from harness.core.notice import Notice
    from harness.core.record import RunRecord
    from harness.history.record import History

VARIABLE = "HARNESS_HISTORY"
DEFAULT = Path("reports") / "history.db"
OFF = "none"
NEEDED = ("sqlalchemy", "alembic")
INSTALL = "the history needs SQLAlchemy and Alembic; install them: pip install sqlalchemy alembic"


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """The place of the history. explicit: named by an option or the environment, not by default."""

    name: str
    explicit: bool

    @property
    def off(self) -> bool:
        """True when no history is kept."""
        return self.name == OFF


def history_place(option: str | None, environment: Mapping[str, str] = os.environ) -> HistoryPlace:
    """The option, else ``HARNESS_HISTORY``, else ``reports/history.db``."""
    name = option or environment.get(VARIABLE, "")
    return HistoryPlace(name or str(DEFAULT), bool(name))


def installed() -> bool:
    """Whether the packages of the extra are installed."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def check_history_place(place: HistoryPlace) -> None:
    """Raise ConfigError before a run for a place in which no run can be recorded."""
    if place.off or not place.explicit:
        return
    if not installed():
        raise ConfigError(INSTALL)
    # Imported late, because SQLAlchemy is an extra that may not be installed.
    from harness.history.database import parse_place

    parse_place(place.name)


def open_history(place: HistoryPlace, *, create: bool = True) -> History:
    """Open the history, and make it when there is none and ``create`` is set. Raises ConfigError without the extra,
    HistoryError when it cannot be opened."""
    if place.off:
        raise ConfigError(f"{VARIABLE}={OFF}: no history is kept; expected a file or a database URL")
    if not installed():
        raise ConfigError(INSTALL)
    from harness.history.record import History

    return History(place.name, create=create)


def record_run(
    record: RunRecord, folder: Path, place: HistoryPlace, *, target: str | None = None
) -> list[Notice]:
    """Record a judged run, and return what changed since the last decided run of the same targets. Raises ConfigError
    and HistoryError; its callers note a failure with the verdict."""
    # Without the extra the default history is off. One that the user named must work, so there its absence is an
    # error.
    if place.off or (not place.explicit and not installed()):
        return []
    from harness.core.history import entry_of  # both import the judge, which the options do not need
    from harness.core.notice import notices

    entry = entry_of(record, path=str(folder.absolute()), target=target)
    with open_history(place) as history:
        history.add(entry)
        return notices(entry, history.before(entry))
