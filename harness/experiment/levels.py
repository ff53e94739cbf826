"""The end of a cycle: wait until the service has settled, read everything, and return it as an observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.core.census_diff import UNCLASSIFIED
from harness.core.census_diff import levels as census_levels
from harness.core.cycle import CycleSpec, Ledger, Observation, Reading
from harness.core.errors import HarnessError
from harness.core.judge.unnoticed import unnoticed
from harness.core.metric import Key
from harness.core.note import Note
from harness.core.sample import Census
from harness.experiment.broker import Broker
from harness.experiment.cancellable import call_cancellable
from harness.experiment.close_times import CloseTimes
from harness.experiment.context import Target, TrialContext
from harness.experiment.remote_target import ProbeSampler
from harness.experiment.settle import (
    CENSUSES_WHILE_FLUCTUATING,
    SettleCriteria,
    SettleResult,
    cores_used,
    wait_for_counts_to_return,
    wait_until_settled,
)
from harness.experiment.setup import TrialSetup
from harness.experiment.target_runtime import TargetRuntime

TCP_IN = "tcp-in"  # a class of a census: connections to a port that the service listens on
MAX_EVENTS = 20  # events of processes, such as an exit, that the record keeps of one cycle
MAX_CHANGES = 100  # changes of the hot counts that the record keeps of one cycle


@dataclass
class LevelReader:
    """Reads the levels of one target. port: where its clients connect. add_note: called with notes for the record, such
    as why a counter could not be read."""

    setup: TrialSetup
    context: TrialContext
    target: Target
    sampler: ProbeSampler
    runtime: TargetRuntime
    broker: Broker | None
    port: int
    add_note: Callable[[Note], None]
    close_times: CloseTimes = field(init=False)
    _tick: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        first = self.sampler.latest().fds
        self.close_times = CloseTimes(self.setup.judgement.settle, base=float(first or 0))

    def settle(self, tick: Callable[[], None]) -> SettleResult:
        """Wait until the service has settled, exited or run out of time. tick: called while waiting."""
        self._tick = tick
        # Clients are not counted here: ``observe`` looks for them in the census, which walks the kernel's sockets
        # anyway. Walking them twice was most of the CPU time that the harness used while it waited.
        return self._settle(None)

    def _settle(
        self,
        port: int | None,
        long_window: float | None = None,
        is_released: Callable[[], bool] | None = None,
    ) -> SettleResult:
        """Wait as ``settle`` does. port: of the clients, which must have disconnected; None: they are not counted.
        long_window: seconds without change while more is retained than at the last level. is_released: whether what the
        long window waits for is released."""
        close_times = self.close_times
        # With a retention time the harness does not wait for late closes: the judge recognises them by their fall.
        has_retention = self.setup.judgement.retain > 0
        if long_window is None:
            long_window = close_times.settle if has_retention else close_times.long_window
        return wait_until_settled(
            self.sampler,
            SettleCriteria(
                window=close_times.window,
                settle=self.setup.judgement.settle,
                # A service that closes late gets the time for several of its windows before it counts as never
                # settling.
                timeout=max(self.setup.judgement.settle_timeout, 3 * long_window),
                pace=self.setup.probe_interval,
                long_window=long_window,
                accept_falling=has_retention,
            ),
            port=port,
            clock=self.context.clock,
            stopped=lambda: self.context.interrupt.is_set() or not self.target.alive,
            tick=self._tick,
            is_released=lambda level: (
                is_released() if is_released else close_times.is_released(level.get("fds"))
            ),
        )

    def counts_now(self, since: float) -> SettleResult:
        """The counts as they are now, settled or not, to watch what a service releases late while it falls.

        since: start of the time over which the idle CPU is read, by the run's clock."""
        sample = self.sampler.latest()
        names = {"fds": sample.fds, "threads": sample.threads, "processes": sample.processes}
        level = {name: float(value) for name, value in names.items() if value is not None}
        used = [one for one in self.sampler.samples() if one.at >= since]
        cores = cores_used(used, sample.at - since) if used else None
        return SettleResult(bool(level), "", level, 0.0, cores)

    def initial(self) -> dict[Key, float]:
        """The levels before the first client, as far as they can be read at once."""
        levels: dict[Key, float] = {}
        # Read at once, without waiting for the service to settle: nothing has loaded it yet.
        for census in self._censuses(1):
            levels.update(census_levels(census))
        counters, _ = self.runtime.read()
        levels.update(counters)
        counted = self.broker.count() if self.broker else None
        if counted and levels:
            levels[Key("broker-peers")] = float(counted.peers)
        return levels

    def observe(
        self, step: CycleSpec, ledger: Ledger, result: SettleResult, started: float, load_ended: float
    ) -> Observation:
        """Read everything, and return it with what the swarm counted. Wait first for clients that are still connected,
        and for sockets of departed clients where the service has closed such sockets late."""
        close_times = self.close_times
        if step.connections:
            # Recorded before the first reading, because the service begins to close at this moment.
            close_times.clients_disconnected(load_ended)
        counters, censuses = self._read(result)
        # Counts also settle while a client stays connected: an open connection changes none of them.
        if result.settled and self._clients_connected(censuses):
            result = self._settle(self.port)
            counters, censuses = self._read(result)
        has_retention = self.setup.judgement.retain > 0
        # The long window is capped, so it may end before the slowest close that this service has shown.
        closes_later = close_times.long_window < close_times.slowest
        if result.settled and not has_retention and closes_later and self._more_unnoticed(censuses):
            result = self._settle(
                None, close_times.slowest, lambda: not self._more_unnoticed(self._censuses(1))
            )
            counters, censuses = self._read(result)
        levels = result.levels(*censuses)
        lag = close_times.update_from(self.sampler.samples(), self.context.clock())
        if result.settled and self.target.alive:
            close_times.add_level(result.level.get("fds"), unnoticed(levels), stable=result.stable)
            if not result.fluctuating:
                # The counts of a fluctuating service never stop changing, so they show no time after which they would.
                close_times.moved = max(close_times.moved, result.close_lag)
        levels.update(counters)
        # Counted in each cycle, also in one without levels: the broker's counts are those since the last call.
        counted = self.broker.count() if self.broker else None
        # A count of the broker alone must not turn a cycle without levels into one with levels.
        if counted and levels:
            levels[Key("broker-peers")] = float(counted.peers)
        return Observation(
            spec=step,
            ledger=ledger,
            levels=levels,
            started=started,
            ended=self.context.clock(),
            load_ended=load_ended,
            settled=result.settled,
            unsettled=result.moving,
            complete=self.target.alive and not self.context.interrupt.is_set(),
            close_lag=max(lag, result.close_lag if step.connections else 0.0),
            broker=counted,
            census=censuses[-1] if censuses else None,
            events=self._events(started),
            idle_counts=self._idle_counts(load_ended if step.connections else started),
        )

    def departed_closed(self, open_before: float, until: float) -> bool:
        """Wait until no more sockets of departed clients are open than before. Returns whether that happened before
        ``until``, by the run's clock.

        A service that notices a departure at its next write seems settled until then."""
        while censuses := self._censuses(1):
            if unnoticed(census_levels(censuses[-1])) <= open_before:
                return True
            if self.context.clock() >= until or self.context.interrupt.wait(self.setup.probe_interval):
                return False
        return False

    def connected(self) -> Reading | None:
        """Levels while clients are connected; None when nothing could be read."""
        at = self.context.clock()
        census = self._census()
        if census is None:
            return None
        levels = census_levels(census)
        counters, notes = self.runtime.read()  # after the census: it opens a connection of its own
        for note in notes:
            self.add_note(note)
        return Reading(at, {**levels, **counters})

    def _idle_counts(self, since: float) -> tuple[tuple[float, float, float], ...]:
        """The hot counts since the last client disconnected, one entry for each change: time, descriptors, threads."""
        found: list[tuple[float, float, float]] = []
        for sample in self.sampler.samples():
            if sample.at < since or sample.fds is None or sample.threads is None:
                continue
            counts = (float(sample.fds), float(sample.threads))
            # Only changes, because an idle service repeats the same counts ten times a second.
            if not found or found[-1][1:] != counts:
                found.append((sample.at, *counts))
        if len(found) > MAX_CHANGES:
            # Rounded up, so that at most MAX_CHANGES are left; the last one is the level and always kept.
            stride = -(-len(found) // MAX_CHANGES)
            found = [*found[::stride], found[-1]]
        return tuple(found)

    def _read(self, result: SettleResult) -> tuple[dict[Key, float], list[Census]]:
        # Counters before the census: the collection that they start closes descriptors that only garbage refers to.
        counters = self._counters(result)
        return counters, self._censuses(CENSUSES_WHILE_FLUCTUATING if result.fluctuating else 1)

    def _clients_connected(self, censuses: list[Census]) -> bool:
        """Whether any client is connected. The census excludes it when it found no descriptor of an accepted
        connection; otherwise only the kernel's socket tables show it."""
        if self.context.interrupt.is_set() or not self.target.alive:
            return False
        if censuses and censuses[0].fds and not censuses[0].fds.keys() & {TCP_IN, UNCLASSIFIED}:
            return False
        return self.sampler.inbound(self.port) != 0

    def _more_unnoticed(self, censuses: list[Census]) -> bool:
        """Whether more sockets of departed clients are open than at the last level."""
        return bool(censuses) and unnoticed(census_levels(censuses[-1])) > self.close_times.unnoticed

    def _counters(self, result: SettleResult) -> dict[Key, float]:
        """The runtime's counters of a settled service. Returns once what the reading opened for itself is closed."""
        if not result.settled or self.context.interrupt.is_set() or not self.target.alive:
            return {}
        levels, notes = self.runtime.read()
        for note in notes:
            self.add_note(note)
        if levels:
            wait_for_counts_to_return(self.sampler, result.level, clock=self.context.clock)
        return levels

    def _events(self, since: float) -> tuple[str, ...]:
        """The events of processes that existed before the cycle: a restart must be reported as a restart, never as
        a fix. A process that started and exited within the cycle, such as a shell command, is left out."""
        events = [event for sample in self.sampler.samples() if sample.at >= since for event in sample.events]
        # Each event begins with its process, as in "pid 12 started". The trailing space keeps pid 12 from matching
        # pid 123.
        new = {event.removesuffix(" started") + " " for event in events if event.endswith(" started")}
        kept = [e for e in events if not e.endswith(" started") and not any(e.startswith(pid) for pid in new)]
        return tuple(kept[:MAX_EVENTS])

    def _censuses(self, count: int) -> list[Census]:
        """Up to ``count`` censuses, one probe interval apart."""
        found: list[Census] = []
        for index in range(count):
            if self.context.interrupt.wait(self.setup.probe_interval if index else 0.0):
                break
            if taken := self._census():
                found.append(taken)
        return found

    def _census(self) -> Census | None:
        if not self.target.alive:
            return None
        try:
            # A census of hundreds of processes is slow, so Ctrl-C does not wait for it to end.
            return call_cancellable(
                self.context.interrupt.is_set, lambda: self.sampler.census(self.context.clock()), "a census"
            )
        except HarnessError:
            # The cycle then has no census. A crash, and a probe that failed, are reported where the samples are read.
            return None
