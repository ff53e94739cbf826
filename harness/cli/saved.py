"""Reads a saved run for `judge`, `report` and `baseline accept`. Invalid contents are reported and never crash the
harness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from harness.cli import secret
from harness.core.errors import StoreError
from harness.core.judge.trial import judge
from harness.core.note import NoteKind, without
from harness.core.record import RunRecord, Trial
from harness.experiment.reports import uncovered
from harness.store.run_dir import RunDirectory

redact_option = click.option(
    "--redact",
    multiple=True,
    metavar="REGEX",
    help="Replace text that matches with *** wherever it is stored or printed. Repeatable.",
)
INVALID = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def saved_record(run: Path, patterns: tuple[str, ...] = ()) -> RunRecord:
    """The record of a run, without secrets. An older version may have stored some. Raises StoreError, ConfigError."""
    secret.remember(patterns=patterns)
    return without_secrets(RunDirectory.open(run).record())


def without_secrets(record: RunRecord) -> RunRecord:
    """The record without the values of names that look secret."""
    known = secret.known()
    trials = []
    for trial in record.trials:
        words = trial.target.command
        target = replace(trial.target, command=known.words(words) if words else words)
        trials.append(replace(trial, target=target))
    return known.value(replace(record, trials=tuple(trials)))


def judged_again(trial: Trial, run: Path) -> Trial:
    """A trial with its verdict. Raises StoreError for invalid figures."""
    try:
        trial = replace(trial, verdict=judge(trial))
        return replace(trial, notes=(*without(trial.notes, NoteKind.BUDGET_GAP), *uncovered(trial)))
    except INVALID as error:
        raise StoreError(
            f"{run}: trial {trial.name!r} cannot be judged: its figures are invalid ({type(error).__name__}: {error}); "
            "restore the run or run again"
        ) from None
