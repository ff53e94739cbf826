"""``harness report``: the readable forms of a saved run again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from harness.core.judge import judge
from harness.core.record import as_ended
from harness.experiment.run import write_reports
from harness.store.run_dir import RunDirectory


@click.command("report", short_help="write the report of a saved run again")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write report.html, summary.md and junit.xml of a run again: RUN is its folder or its run.json."""
    directory = RunDirectory.open(run)
    record = directory.record()
    # An interrupted run holds trials that were never judged.
    trials = tuple(
        trial if trial.verdict else replace(trial, verdict=judge(trial))
        for trial in map(as_ended, record.trials)
    )
    click.echo(write_reports(replace(record, trials=trials), directory))
