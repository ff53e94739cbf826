"""``harness judge``: the verdict of a saved run again, from what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from harness.core.judge import judge
from harness.core.record_codec import result_dict
from harness.core.units import rate
from harness.experiment.run import worst_exit_code
from harness.report.terminal import show_verdict
from harness.store.run_dir import RunDirectory
from harness.store.write import replace_file


@click.command("judge", short_help="judge a saved run again")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--sensitivity", metavar="RATE", help="Judge as if this had been asked for.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the verdict here.")
def command(run: Path, sensitivity: str | None, json_file: Path | None) -> None:
    """Judge a run again: RUN is its folder or its run.json. The same input gives the same verdict."""
    record = RunDirectory.open(run).record()
    trials = list(record.trials)
    if sensitivity:
        asked = rate("--sensitivity", sensitivity)
        trials = [replace(trial, sensitivity=asked) for trial in trials]
    judged = [replace(trial, verdict=judge(trial)) for trial in trials]
    console = Console(highlight=False)
    for trial in judged:
        if len(judged) > 1:
            console.print(f"{trial.name}:")
        show_verdict(trial, console)
    if json_file:
        results = [result_dict(trial) for trial in judged]
        data = results[0] if len(results) == 1 else results
        replace_file(json_file, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())
    raise click.exceptions.Exit(worst_exit_code(judged))
