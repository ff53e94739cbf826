"""Run one trial: start everything, run one cycle after another, stop everything, keep what was measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from harness.core import design
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.errors import BrokerError, HarnessError, Interrupted, ProbeError, SupervisorLost, SwarmError
from harness.core.judge.trial import suspicion
from harness.core.note import Note, NoteKind
from harness.core.plan import Search, Stop
from harness.core.record import Trial
from harness.experiment.context import TrialContext
from harness.experiment.place_search import PlaceSearch
from harness.experiment.setup import TrialSetup
from harness.experiment.stream_failures import StreamFailures
from harness.experiment.trial_cycle import CycleRunner
from harness.experiment.trial_record import TrialRecord
from harness.experiment.trial_start import EXIT_TIMEOUT, ServiceExited, TrialParts, TrialStarter
from harness.store.folder_limit import mib


def run_trial(setup: TrialSetup, context: TrialContext) -> Trial:
    """Run a whole trial. A crash of the service raises nothing: it is recorded in the trial that is returned. A failure
    of the harness ends the trial with ``infrastructure`` set. Raises TargetError for a service that never became ready,
    and ConfigError for an invalid request."""
    record = TrialRecord(setup, context)
    final_readings: list[Callable[[], None]] = []
    with ExitStack() as stack:
        try:
            RunningTrial(record, TrialStarter(record, stack, final_readings).start()).run()
        except ServiceExited:
            pass  # the record says how
        except Interrupted as error:
            if context.interrupt.time_up:
                record.note_time_up()
                record.note(NoteKind.CANCELLED, str(error))
        except (BrokerError, SwarmError, SupervisorLost) as error:
            _record_failure(record, error)
        except ProbeError as error:
            record.change(infrastructure=str(error))
        # Before the stack stops the broker and the probe, whose last figures these are.
        for read in final_readings:
            read()
        record.change(ended=context.clock(), interrupted=context.interrupt.user.is_set())
    return record.trial


def _record_failure(record: TrialRecord, error: HarnessError) -> None:
    """Record that a part of the harness failed. After an interruption it may only have been slow to stop, on a busy
    machine: then the reason for stopping counts, not the delay."""
    interrupt = record.context.interrupt
    if not interrupt.is_set():
        record.change(infrastructure=str(error))
        return
    record.note(NoteKind.CANCELLED, str(error))
    if interrupt.time_up:
        record.note_time_up()


class RunningTrial:
    """The cycles of a trial, once all of its parts have started."""

    def __init__(self, record: TrialRecord, parts: TrialParts) -> None:
        self.record = record
        self.parts = parts
        self.cycles = CycleRunner(record, parts)
        self.search = PlaceSearch(record, parts, self.cycles)

    def run(self) -> None:
        """Run cycles until the plan, the user or the time ends them; then search for the place of a certain leak."""
        record, target = self.record, self.parts.target
        try:
            self.run_cycles()
            self.search.run()
        except ProbeError:
            # The process disappears a moment before its supervisor reports how it exited.
            if not target.wait(EXIT_TIMEOUT):
                raise
            # A service that cannot be read because it exited has crashed; the harness has not failed.
            record.record_exit(target)
        except SwarmError:
            # The swarm may notice the exit of the service first.
            if not record.context.interrupt.is_set() and not target.alive and record.trial.exit is None:
                record.record_exit(target)
            raise

    def run_cycles(self) -> None:
        """Run one cycle after another, as the plan asks for."""
        record, context, target = self.record, self.record.context, self.parts.target
        # The time that starting took is part of the limit, so only the rest of it is left for the cycles.
        deadline = context.clock() + record.time_left(record.setup.judgement.max_time)
        while not context.interrupt.user.is_set():
            if context.clock() >= deadline:
                record.note_time_up()
                return
            step = record.setup.steps(record.trial)
            if isinstance(step, Stop):
                after = design.elapsed_seconds(record.trial)
                text = f"stopped: {step.reason}; {after:.1f} s after the first cycle began"
                record.note(NoteKind.STOPPED, text, reason=step.reason)
                return
            # Without this text a wait for the retention time looks as if the harness had stopped responding.
            record.activity = suspicion(record.trial)
            if isinstance(step, Search):
                self.search.run()
                record.activity = ""
                continue
            seen = self._marked(self.cycles.run(step))
            record.change(observations=(*record.trial.observations, seen))
            if self._folder_is_full():
                return
            if reason := self.cycles.failures.reason:
                record.note(NoteKind.LOAD_STOPPED, f"stopped loading: {reason}", reason=reason)
                step = record.setup.steps(record.trial)
                # The plan may continue without clients: to watch what is retained, or to ask the service again later.
                waits = isinstance(step, CycleSpec) and step.phase is Phase.RETENTION
                if not suspicion(record.trial) and not waits:
                    return
                self.cycles.failures = StreamFailures(answered=self.cycles.failures.answered)
            if not target.alive or not seen.complete:
                if context.interrupt.time_up:
                    record.note_time_up()
                return

    def _marked(self, seen: Observation) -> Observation:
        """Add a note to the observation if its load was ended because every stream failed."""
        if not (reason := self.cycles.failures.reason):
            return seen
        note = Note(NoteKind.LOAD_GIVEN_UP, reason)
        return replace(seen, ledger=replace(seen.ledger, notes=(*seen.ledger.notes, note)))

    def _folder_is_full(self) -> bool:
        """Keep the run's folder small; True when it is at its limit with nothing left to leave out."""
        folder_limit = self.record.context.folder_limit
        if folder_limit is None:
            return False
        for text in folder_limit.apply(self.record.context.clock()):
            self.record.note(NoteKind.FOLDER_LIMIT, text)
        if folder_limit.full:
            limit = mib(folder_limit.most)
            text = (
                f"stopped: the folder holds more than its limit of {limit}; a soak takes a higher --max-size"
            )
            self.record.note(NoteKind.STOPPED, text)
        return folder_limit.full
