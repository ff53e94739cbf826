"""``harness report``: writes the reports of a saved run again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from harness.cli import secret
from harness.cli.saved import INVALID, judged_again, redact_option, without_secrets
from harness.cli.streams import safe_line
from harness.core.errors import StoreError
from harness.core.record import as_ended
from harness.experiment.reports import write_reports
from harness.store.run_dir import RunDirectory


@click.command("report", short_help="write the report of a saved run again")
@click.argument("run", type=click.Path(path_type=Path))
@redact_option
def command(run: Path, redact: tuple[str, ...]) -> None:
    """Write report.html, summary.md and junit.xml of a run again: RUN is its folder or its run.json."""
    secret.remember(patterns=redact)
    directory = RunDirectory.open(run)
    record = without_secrets(directory.record())
    # An interrupted run may contain trials that were never judged.
    trials = tuple(
        trial if trial.verdict else judged_again(trial, run) for trial in map(as_ended, record.trials)
    )
    try:
        written = write_reports(replace(record, trials=trials), directory)
    except INVALID as error:
        raise StoreError(
            f"{run}: cannot be shown: its figures are invalid ({type(error).__name__}: {error}); restore the run or "
            "run again"
        ) from None
    click.echo(safe_line(str(written)))
