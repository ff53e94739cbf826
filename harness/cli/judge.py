"""``harness judge``: judges a saved run again, from its measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from harness.cli.console import console as terminal
from harness.cli.result import json_text
from harness.cli.saved import judged_again, redact_option, saved_record
from harness.cli.service_options import path_of
from harness.cli.streams import safe_line, working_directory
from harness.config import budget_for
from harness.core.judge.selftest import confirmed
from harness.core.note import NoteKind, without
from harness.core.record import Trial, as_ended
from harness.core.units import rate
from harness.experiment.reports import worst_exit_code
from harness.report.terminal import show_verdict
from harness.store.write import check_output, replace_file

PATH = click.Path(path_type=Path)


@click.command("judge", short_help="judge a saved run again")
@click.argument("run", type=PATH)
@click.option("--sensitivity", metavar="RATE", help="Judge with this sensitivity instead.")
@click.option("--budget", "budget_file", type=PATH, metavar="FILE", help="Judge with these budgets instead.")
@click.option("--profile", metavar="NAME", help="With --budget: use its [profile.NAME].")
@click.option(
    "--self-test", is_flag=True, help="A pass must find a planted leak of the size that it claims to exclude."
)
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the result here as JSON.")
@redact_option
def command(
    run: Path,
    sensitivity: str | None,
    budget_file: Path | None,
    profile: str | None,
    self_test: bool,
    json_file: Path | None,
    redact: tuple[str, ...],
) -> None:
    """Judge a run again: RUN is its folder or its run.json. The same input gives the same verdict."""
    if profile and not budget_file:
        raise click.UsageError("--profile names a part of a budget file: expected --budget FILE as well")
    check_output("--json", json_file)
    record = saved_record(run, redact)
    smallest = rate("--sensitivity", sensitivity) if sensitivity else None
    trials = [_changed(trial, smallest, budget_file, profile) for trial in map(as_ended, record.trials)]
    judged = tuple(judged_again(trial, run) for trial in trials)
    console = terminal()
    if self_test:
        tried = [confirmed(trial) for trial in judged]
        judged = tuple(trial for trial, _ in tried)
        for _, planted in tried:
            for one in planted:
                console.print(safe_line(f"self-test: {one.sentence()}"), markup=False, soft_wrap=True)
    if json_file:
        replace_file(json_file, json_text(replace(record, trials=judged)).encode())
    for trial in judged:
        if len(judged) > 1:
            console.print(safe_line(f"{trial.name}:"), markup=False, soft_wrap=True)
        show_verdict(trial, console, root=working_directory())
    raise click.exceptions.Exit(worst_exit_code(judged))


def _changed(trial: Trial, sensitivity: float | None, budget_file: Path | None, profile: str | None) -> Trial:
    """The trial with another sensitivity or budget."""
    if sensitivity is not None:
        trial = replace(trial, sensitivity=sensitivity)
    if budget_file is None:
        return trial
    met = {path for o in trial.observations for path in o.spec.paths} or {path_of(trial.target.url)}
    budget, notes = budget_for(budget_file, endpoints=sorted(met), profile=profile)
    kept = without(trial.notes, NoteKind.BUDGETS, NoteKind.BUDGET_EXCEPTION, NoteKind.BUDGET_GAP)
    return replace(trial, budget=budget, notes=(*notes, *kept))
