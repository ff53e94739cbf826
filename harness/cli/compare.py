"""``harness compare``: compares two runs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.history import saved_entry
from harness.cli.history_options import history_of
from harness.cli.streams import safe_line
from harness.core.errors import EXIT_INCONCLUSIVE, EXIT_SERVICE, ConfigError
from harness.core.history import RunEntry
from harness.core.trends import compare
from harness.report.trend import compared


@click.command("compare", short_help="compare two runs")
@click.option("--history", metavar="PLACE", help="Where runs that are named by their id are looked up.")
@click.argument("old", metavar="RUN")
@click.argument("new", metavar="RUN")
def command(history: str | None, old: str, new: str) -> None:
    """Compare the later RUN with the earlier one, metric by metric. RUN is a run's folder, its run.json, or its id in
    the history.

    \b
    harness compare reports/2026-03-01T02-00-00-81 reports/2026-03-02T02-00-00-92

    All intervals hold simultaneously with 99 % confidence. A metric is worse when its interval is above zero and its
    rate grew by the sensitivity or more. Exit codes: 0 nothing got worse, 1 a metric or an outcome did, 2 usage, 3
    the runs have nothing in common.
    """
    found = compare(_entry(old, history), _entry(new, history))
    for text in compared(found):
        click.echo(safe_line(text))
    if not found.differences and not found.outcomes:
        click.echo(safe_line("the runs share no trial: nothing to compare"))
        raise click.exceptions.Exit(EXIT_INCONCLUSIVE)
    raise click.exceptions.Exit(EXIT_SERVICE if found.worse else 0)


def _entry(name: str, history: str | None) -> RunEntry:
    """A run on disk, else one in the history. Raises StoreError, ConfigError, HistoryError."""
    path = Path(name)
    if path.exists():
        return saved_entry(path)
    with history_of(history) as kept:
        found = kept.run(name)
        exact = [entry for entry in found if entry.run_id == name]
    chosen = exact or found
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        ids = ", ".join(entry.run_id for entry in chosen[:3])
        raise ConfigError(
            f"run {name!r} is one of {len(chosen)} in {kept.where}: {ids}; expected the whole id"
        )
    raise ConfigError(f"run {name!r}: no such folder, and no such id in {kept.where}; see: harness history")
