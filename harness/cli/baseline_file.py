"""Changes to a budget file that somebody keeps by hand: comments and order stay, and no loosening is silent."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from harness.config import PROJECT

WORD = {"growth": "connection", "per_event": "event", "per_hour": "hour"}


@dataclass(frozen=True, slots=True)
class Change:
    """One entry. table: of a Budget. before: None where nothing was said. after: units, or bytes."""

    table: str
    key: str
    before: float | None
    after: float

    @property
    def is_ceiling(self) -> bool:
        """A greatest level; else a growth."""
        return self.table == "ceilings"

    @property
    def is_exception(self) -> bool:
        """More growth than was granted is written as an exception, which ends."""
        return self.loosens and not self.is_ceiling

    @property
    def loosens(self) -> bool:
        """True when the next run may do what the last was not allowed to."""
        met = (math.inf if self.is_ceiling else 0.0) if self.before is None else self.before
        return self.after > met

    def say(self) -> str:
        """``fds per connection: none -> 1 (LOOSENS)``."""
        shown = "none" if self.before is None else f"{self.before:g}"
        what = f"ceiling of {self.key}" if self.is_ceiling else f"{self.key} per {WORD[self.table]}"
        return f"{what}: {shown} -> {self.after:g} ({'LOOSENS' if self.loosens else 'tightens'})"

    @property
    def number(self) -> float | int:
        """The new value as TOML shows it best."""
        return int(self.after) if self.after == int(self.after) else self.after


def write(
    document: Any,
    path: Path,
    profile: str | None,
    changes: Iterable[Change],
    *,
    reason: str,
    until: datetime.date,
) -> None:
    """Put changes into a parsed TOML document. path: its name says whether budgets are below ``[tool.harness]``.

    reason: of new exceptions. until: the last day of each that is loosened; a reason written before stays.
    """
    root = document
    if path.name == PROJECT:
        tool = document.setdefault("tool", tomlkit.table(is_super_table=True))
        root = tool.setdefault("harness", tomlkit.table(is_super_table=True))
    for change in changes:
        if change.is_ceiling:
            ceilings = _table(root, profile).setdefault("ceilings", tomlkit.table())
            # Both names are of the same level: a second entry would leave two that contradict each other.
            same = "memory" if change.key == "memory/anonymous" and change.key not in ceilings else change.key
            ceilings[same] = change.number
        else:
            _except(root, profile, change, reason, until)


def _table(root: Any, profile: str | None) -> Any:
    if profile is None:
        return root.setdefault("budget", tomlkit.table())
    profiles = root.setdefault("profile", tomlkit.table(is_super_table=True))
    return profiles.setdefault(profile, tomlkit.table())


def _except(root: Any, profile: str | None, change: Change, reason: str, until: datetime.date) -> None:
    allow = f"{change.number}/{WORD[change.table]}"
    if profile is not None:
        _table(root, profile)  # an exception for a profile that is not there would never hold
    entries = root.setdefault("exception", tomlkit.aot())
    for entry in entries:
        same = (entry.get("metric"), entry.get("profile"), entry.get("endpoint")) == (
            change.key,
            profile,
            None,
        )
        if same and str(entry["allow"]).strip().removesuffix("s").endswith(WORD[change.table]):
            entry["allow"], entry["expires"] = allow, until
            return
    made = tomlkit.table()
    for name, value in (("metric", change.key), ("allow", allow), ("profile", profile), ("reason", reason)):
        if value is not None:
            made[name] = value
    made["expires"] = until
    entries.append(made)
