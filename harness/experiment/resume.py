"""Resumes an interrupted soak: its measurements count, and its service is a new process."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness import __version__
from harness.core.errors import ConfigError, StoreError
from harness.core.judge.hourly import time_text
from harness.core.note import Note, NoteKind
from harness.core.record import Restart, RunRecord, Trial
from harness.core.units import counted
from harness.core.verdict import Outcome
from harness.store.plan import FILE, Plan, load_plan
from harness.store.run_dir import RECORD, RunDirectory

COMMAND = "harness soak"
ANEW = "start a new soak"


@dataclass(frozen=True, slots=True)
class Resumption:
    """A run to resume. at: seconds since the run's start at which its clock continues, without the gap."""

    directory: RunDirectory
    record: RunRecord
    trial: Trial
    plan: Plan
    at: float

    @property
    def used(self) -> float:
        """Seconds of the soak that have passed."""
        return self.at - self.trial.started


def resumption(run: Path, now: float | None = None) -> Resumption:
    """The run in this folder, locked. now: seconds since the epoch. Raises ConfigError for a run that cannot be
    resumed, saying why."""
    if (run / FILE).is_file() and not (run / RECORD).exists():
        raise ConfigError(f"{run}: it was interrupted before anything was measured; {ANEW}")
    try:
        directory = RunDirectory.resume(run)
    except StoreError as error:
        raise ConfigError(f"{error}; it cannot be resumed") from None
    try:
        record = directory.record()
        trial = _interrupted(record, directory.path)
        plan = load_plan(directory.path)
        sampled, written = directory.last_written()
    except BaseException:
        directory.close()
        raise
    last = trial.observations[-1].ended if trial.observations else trial.started
    # The samples are written at once and the record after each cycle. After a crash of the machine the samples are
    # ahead of the record, and the clock must not go back behind them.
    at = max(trial.started, trial.ended, last, sampled)
    gap = max(0.0, (time.time() if now is None else now) - written)
    return Resumption(directory, replace(record, trials=()), _continued(trial, at, gap), plan, at)


def _interrupted(record: RunRecord, folder: Path) -> Trial:
    """The trial of a soak that was interrupted."""
    verb = " ".join(record.command.split()[:2])
    if verb != COMMAND or len(record.trials) != 1:
        raise ConfigError(f"{folder}: a run of `{verb}`; expected one of `{COMMAND}`: only soaks are resumed")
    if record.harness_version != __version__:
        raise ConfigError(
            f"{folder}: measured by harness {record.harness_version}, this is {__version__}; resume it with that "
            f"version, or {ANEW}"
        )
    (trial,) = record.trials
    outcome = trial.verdict.outcome if trial.verdict else None
    if trial.exit is not None:
        raise ConfigError(f"{folder}: its service crashed, so the soak is over; {ANEW}")
    # A failure of the harness, or of the restart of the service, may not occur again.
    over = outcome not in (None, Outcome.INFRASTRUCTURE, Outcome.UNREADY) and not trial.interrupted
    if outcome is not None and (over or (outcome is Outcome.UNREADY and not trial.observations)):
        raise ConfigError(f"{folder}: it ended as {outcome}; expected an interrupted soak; {ANEW}")
    return trial


def _continued(trial: Trial, at: float, gap: float) -> Trial:
    """The trial as it is before the next process of its service starts."""
    restart = Restart(len(trial.observations), at, round(gap, 1))
    cycles = counted(len(trial.observations), "cycle")
    note = Note(
        NoteKind.RESUMED,
        f"resumed after {cycles} and a gap of {time_text(gap)}",
        {"cycles": len(trial.observations), "gap_seconds": round(gap, 1)},
    )
    return replace(
        trial, verdict=None, interrupted=False, infrastructure=None, unready=None, ended=0.0,
        notes=(*trial.notes, note), restarts=(*trial.restarts, restart) if trial.observations else trial.restarts,
    )  # fmt: skip
