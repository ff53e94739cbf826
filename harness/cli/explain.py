"""``harness explain``: how a saved run was judged."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.console import console as terminal
from harness.cli.saved import INVALID, judged_again, redact_option, saved_record
from harness.cli.streams import safe_line, working_directory
from harness.core.errors import ConfigError, StoreError
from harness.core.record import as_ended
from harness.core.units import did_you_mean
from harness.report.reasoning import reasoning
from harness.report.terminal import show_verdict


@click.command("explain", short_help="explain how a saved run was judged, metric by metric")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metric", default="", metavar="NAME", help="Only this metric, such as fds or fds/eventfd.")
@redact_option
def command(run: Path, metric: str, redact: tuple[str, ...]) -> None:
    """Print how RUN (its folder or its run.json) was judged. For each metric: the levels, how well each candidate
    driver explains the growth, the rule that decided, and what would have changed the result."""
    record = saved_record(run, redact)
    console = terminal()
    known: set[str] = set()
    printed = False
    for trial in map(as_ended, record.trials):
        judged = judged_again(trial, run)
        try:
            lines = list(reasoning(judged, metric))
        except INVALID as error:
            raise StoreError(
                f"{run}: trial {trial.name!r} cannot be explained: its figures are invalid: {error}"
            ) from None
        known |= {str(key) for one in judged.observations for key in one.levels}
        if len(record.trials) > 1:
            console.print(safe_line(f"{trial.name}:"), markup=False, soft_wrap=True)
        show_verdict(judged, console, root=working_directory())
        for text in lines:
            printed = True
            console.print(safe_line(text), markup=False, soft_wrap=True)
    if metric and not printed:
        raise ConfigError(f"--metric {metric!r}: not measured in this run{did_you_mean(metric, known)}")
