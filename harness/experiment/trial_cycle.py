"""One cycle of a trial: load, wait until the service has settled, read its levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from harness.core.cycle import CycleSpec, Ledger, Observation, Phase, Reading
from harness.experiment.levels import LevelReader
from harness.experiment.stream_failures import StreamFailures
from harness.experiment.trial_record import TrialRecord
from harness.experiment.trial_start import EXIT_TIMEOUT, TrialParts
from harness.http import causes

READ_EVERY = 0.5  # seconds between two readings while clients stay connected
MOST_READINGS = 40  # of one hold cycle
FEWEST_READINGS = 8  # of one, however long each takes
PAUSE = 3.0  # times the duration of the last reading: counting a large heap stops the service meanwhile
BEFORE_END = 0.1  # seconds before the clients of a hold cycle disconnect, from when nothing is read any more
EXIT_SOON = 0.05  # seconds within which a service is seen to have exited when some of its streams failed


class CycleRunner:
    """Runs cycles one after another. failures: watches for a service that fails every stream."""

    def __init__(self, record: TrialRecord, parts: TrialParts) -> None:
        self.record = record
        self.parts = parts
        self.failures = StreamFailures()
        self._broker_is_silent = False

    def run(self, step: CycleSpec, *, load_until: float = math.inf, label: str = "") -> Observation:
        """Run one cycle. If the service exits meanwhile, the record says how, and the observation is incomplete.

        load_until: when the load is cut short, by the run's clock. label: names the cycle in the record of a crash;
        "" for its phase.
        """
        record, target, reader = self.record, self.parts.target, self.parts.reader
        clock, interrupt = record.context.clock, record.context.interrupt
        self._set_broker(step)
        started = clock()
        record.step = f"cycle {step.index} ({label or step.phase.value})"
        connected = ConnectedReadings(reader, step, clock)
        self.failures.begin_cycle()

        def progress(ledger: Ledger) -> None:
            self._show(step.phase.value, step, ledger)
            self.failures.update(clock(), step, ledger)
            if step.phase is Phase.HOLD:
                connected.read_if_due(ledger)

        ledger = self.parts.swarm.cycle(
            step,
            progress=progress,
            cancelled=lambda: (
                interrupt.is_set() or not target.alive or bool(self.failures.reason) or clock() > load_until
            ),
            interrupted=interrupt.is_set,
        )
        load_ended = clock()
        self.failures.update(load_ended, step, ledger)
        self.failures.end_cycle(ledger)
        if ledger.failed and step.phase is not Phase.IDLE:
            # Clients see a broken connection a moment before the exit of the service can be observed.
            target.wait(EXIT_TIMEOUT if ledger.failed * 2 > ledger.opened else EXIT_SOON)
        self._show(step.phase.value, step, ledger)
        # What was refused once the service had exited never reached it.
        refused = 0 if target.alive else ledger.causes.get(causes.REFUSED, 0)
        record.connections += ledger.opened - refused
        if not target.alive:
            record.record_exit(target)
            return Observation(step, ledger, {}, started, clock(), load_ended, settled=False, complete=False)
        if step.phase is Phase.RETENTION and not step.connections:
            # This cycle watches late releases, so it must see the counts while they fall, not only once they have
            # settled. After requests the sockets of their own clients must be closed first.
            settled = reader.counts_now(started)
        else:
            settled = reader.settle(lambda: self._show("settling", step))
        seen = reader.observe(step, ledger, settled, started, load_ended)
        if connected.readings:
            seen = replace(seen, connected=tuple(connected.readings))
        if not target.alive:
            record.record_exit(target)
        return seen

    def _set_broker(self, step: CycleSpec) -> None:
        """Let the broker answer, or not, as this cycle asks for."""
        broker, setup = self.parts.broker, self.record.setup.broker
        if broker is None or setup is None:
            return
        silent = setup.silent_in(step)
        if silent is not self._broker_is_silent:
            (broker.silence if silent else broker.resume)()
            self._broker_is_silent = silent

    def _show(self, phase: str, step: CycleSpec, ledger: Ledger | None = None) -> None:
        self.record.show(phase, step.index, ledger, self.parts.sampler.latest())


class ConnectedReadings:
    """Levels that are read at intervals while all clients of a hold cycle are connected."""

    def __init__(self, reader: LevelReader, step: CycleSpec, clock: Callable[[], float]) -> None:
        self.readings: list[Reading] = []
        self._reader = reader
        self._step = step
        self._clock = clock
        self._started = clock()
        self._last_ended = self._started

    def read_if_due(self, ledger: Ledger) -> None:
        """Read now, unless a client is missing, the last reading is recent, or the clients are about to disconnect."""
        now, dwell = self._clock(), self._step.dwell
        last = self.readings[-1].at if self.readings else self._started
        took = self._last_ended - last if self.readings else 0.0
        # A reading slows the service down, so most of the hold is left to it. The upper limit still leaves room for a
        # few readings.
        pause = max(0.0, min(PAUSE * took, dwell / FEWEST_READINGS - took))
        due = max(READ_EVERY, dwell / MOST_READINGS, took + pause)
        if ledger.open_now < self._step.connections or now - last < due:
            return
        if now - self._started > dwell - BEFORE_END:
            return
        if reading := self._reader.connected():
            self.readings.append(replace(reading, events=ledger.events))
            self._last_ended = self._clock()
