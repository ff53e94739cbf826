"""What every measuring command does at its end: show, write, exit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from harness.core.record_codec import result_dict
from harness.experiment.run import Run, worst_exit_code
from harness.experiment.trial import Progress
from harness.report.live import LiveView
from harness.report.terminal import show_verdict
from harness.store.write import replace_file


@contextmanager
def view(console: Console, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A live view as the function that the experiment calls."""
    with LiveView(console, quiet=quiet) as live:
        yield lambda news: live.show(
            news.trial, news.at, news.phase, news.cycle, news.connections, news.sample, news.note
        )


def write_json(run: Run, json_file: Path | None) -> None:
    """The published form of the verdicts: one object for one trial, a list for several."""
    results = [result_dict(trial) for trial in run.record.trials if trial.verdict]
    data = results[0] if len(results) == 1 else results
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    run.directory.write_text("verdict.json", text)
    if json_file:
        replace_file(json_file, text.encode())


def finish(run: Run, report: Path, console: Console, *, json_file: Path | None) -> None:
    """Show the verdict, say where the report is, exit with the documented code."""
    for trial in run.record.trials:
        show_verdict(trial, console)
    write_json(run, json_file)
    console.print(f"report: {report}", soft_wrap=True)
    raise click.exceptions.Exit(worst_exit_code(run.record.trials))
