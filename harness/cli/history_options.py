"""The options that all commands of the history share: its place, and the selection of runs."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.core.errors import ConfigError
from harness.core.units import shown
from harness.core.verdict import Outcome
from harness.experiment.history import check_history_place, history_place, open_history

if TYPE_CHECKING:
    from harness.history.record import History

Command = TypeVar("Command", bound=Callable[..., Any])
DAYS = re.compile(r"(\d+(?:\.\d+)?)\s*d(?:ays?)?")
WANTED = ("target", "profile", "branch", "outcome", "mode", "commit", "since", "until", "last")
OPTIONS = (
    click.option("--history", metavar="PLACE",
                 help="A file or a PostgreSQL URL [default: $HARNESS_HISTORY, else reports/history.db]."),
    click.option("--target", metavar="NAME", help="Only this service."),
    click.option("--profile", metavar="NAME", help="Only this profile."),
    click.option("--branch", metavar="NAME", help="Only this branch."),
    click.option("--outcome", type=click.Choice([one.value for one in Outcome]), metavar="OUTCOME",
                 help="Only runs with this outcome: bounded, leaking, crashed, …"),
    click.option("--mode", type=click.Choice(["stream", "request"]), help="Only this mode."),
    click.option("--commit", metavar="HASH", help="Only this commit; a prefix is enough."),
    click.option("--since", metavar="WHEN", help="From this date on: 2026-03-01, or 30d for the last 30 days."),
    click.option("--until", metavar="WHEN", help="Before this date."),
    click.option("--last", type=click.IntRange(1, 1_000_000), metavar="N", help="Only the newest N runs."),
)  # fmt: skip


def history_options(function: Command) -> Command:
    """Add them all to a command."""
    # Reversed, because decorators apply from the inside out, and --help lists the outermost first.
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def history_of(option: str | None, *, create: bool = False) -> History:
    """The history that an option names. Raises ConfigError, and HistoryError, also when there is none and
    ``create`` is not set."""
    place = history_place(option)
    check_history_place(place)
    return open_history(place, create=create)


def run_filter(options: dict[str, Any]) -> Any:
    """The selection of runs by the options, as ``harness.history.record.RunFilter``. Raises ConfigError."""
    from harness.history.record import RunFilter

    given = {name: options[name] for name in WANTED}
    for name in ("since", "until"):
        if given[name]:
            given[name] = parse_date(f"--{name}", given[name])
    return RunFilter(**given)


def parse_date(option: str, text: str) -> str:
    """A date, a date with time, or a number of days ago, as the history stores it. Raises ConfigError."""
    try:
        if found := DAYS.fullmatch(text.strip()):
            days = datetime.timedelta(days=float(found.group(1)))
            moment = datetime.datetime.now(datetime.UTC) - days
        else:
            moment = datetime.datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # the calendar of Python begins in the year 1
        raise ConfigError(f"{option} {shown(text)}: expected a date such as 2026-03-01, or 30d") from None
