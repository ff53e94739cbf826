"""The record of a trial in progress. Every change is saved at once, so that nothing measured is lost."""

from __future__ import annotations

from dataclasses import replace

from harness.core.cycle import Ledger
from harness.core.note import Note, NoteKind
from harness.core.record import TargetInfo, Trial
from harness.core.sample import Sample
from harness.experiment.context import Progress, Target, TrialContext
from harness.experiment.service_exit import exit_info
from harness.experiment.setup import TrialSetup
from harness.store.logs import set_aside
from harness.target.ready import supervisor_lost

LOGS = ("target.log", "broker.log", "swarm/swarm.log")


class TrialRecord:
    """The record of a trial in progress.

    trial: the record as it is now. started: seconds since the run's start. connections: streams opened so far.
    step: the step in progress, such as ``cycle 3 (load)``, for the record of a crash. activity: what the live view
    shows beside the phase; "" for nothing.
    """

    def __init__(self, setup: TrialSetup, context: TrialContext) -> None:
        self.setup = setup
        self.context = context
        resumed = setup.resumed
        self.started = resumed.started if resumed else context.clock()
        self.connections = sum(o.ledger.opened for o in resumed.observations) if resumed else 0
        self.step = ""
        self.activity = ""
        self.directory = context.directory.trial_dir(setup.name)
        self.trial = resumed or Trial(
            name=setup.name,
            target=TargetInfo(setup.service.command, setup.service.url, setup.service.pid or 0),
            budget=setup.judgement.allowed,
            sensitivity=setup.judgement.sensitivity,
            retention=setup.judgement.retain,
            started=self.started,
            notes=setup.judgement.budget_notes,
            about=setup.about,
        )
        if resumed:
            # The new process writes logs of the same names; those of the process before are kept beside them.
            set_aside(self.directory, LOGS)

    def change(self, **changes: object) -> None:
        """Replace fields of the trial, and save it."""
        self.trial = replace(self.trial, **changes)  # type: ignore[arg-type]
        self.context.keep(self.trial)

    def note(self, kind: NoteKind, text: str, **data: object) -> None:
        """Add a note, unless the trial has the same one."""
        self.add(Note(kind, text, data))

    def add(self, note: Note) -> None:
        """Add a note, unless the trial has the same one."""
        if note not in self.trial.notes:
            self.change(notes=(*self.trial.notes, note))

    def note_time_up(self) -> None:
        """Note that the trial has used all of its time."""
        seconds = self.setup.judgement.max_time if self.setup.limit is None else self.setup.limit
        self.note(NoteKind.STOPPED, f"stopped: the time limit of {seconds:g} s was reached", seconds=seconds)

    def record_exit(self, target: Target) -> None:
        """Record how the service exited. If its supervisor is lost, that is unknown: the harness failed, and the
        service has not crashed."""
        if target.lost:
            if not self.context.interrupt.is_set():
                self.change(infrastructure=str(supervisor_lost(target.lost)))
            return
        at = self.context.clock() - self.started
        cwd = self.setup.service.cwd
        self.change(exit=exit_info(target, at=at, connections=self.connections, during=self.step, cwd=cwd))

    def time_left(self, seconds: float) -> float:
        """``seconds``, or what remains until the limit of the whole trial."""
        if self.setup.limit is None:
            return seconds
        return max(0.0, min(seconds, self.started + self.setup.limit - self.context.clock()))

    def show(
        self, phase: str, cycle: int = 0, ledger: Ledger | None = None, sample: Sample | None = None
    ) -> None:
        """Update the live view. ledger: of the cycle in progress. sample: the latest, if the probe runs."""
        self.context.show(
            Progress(
                self.setup.name,
                self.context.clock() - self.started,
                phase,
                cycle,
                self.connections + (ledger.opened if ledger else 0),
                sample,
                self.activity,
                ledger,
            )
        )
