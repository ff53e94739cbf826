"""The end of a cycle: wait for rest, read everything, and keep it as an observation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.core.census_diff import UNCLASSIFIED
from harness.core.census_diff import levels as census_levels
from harness.core.cycle import CycleSpec, Ledger, Observation, Reading
from harness.core.errors import HarnessError
from harness.core.judge.unnoticed import unnoticed
from harness.core.metric import Key
from harness.core.sample import Census
from harness.experiment.broker import Broker
from harness.experiment.cancellable import call_cancellable
from harness.experiment.closing import Closes
from harness.experiment.context import Target, TrialContext
from harness.experiment.quiet import LOOKS, Quiet, Stillness, after, cores_used, rest
from harness.experiment.remote_target import Watching
from harness.experiment.setup import TrialSetup
from harness.experiment.target_runtime import TargetRuntime

TCP_IN = "tcp-in"  # a class of a census: connections to a port that is listened at
MOST_EVENTS = 20  # of one cycle
MOST_CHANGES = 100  # of the hot counts in one cycle


@dataclass
class Reader:
    """What reads the levels of one target. port: where its clients connect. told: what a reading had to say
    for the record, such as why a counter could not be read."""

    setup: TrialSetup
    context: TrialContext
    target: Target
    sampler: Watching
    runtime: TargetRuntime
    broker: Broker | None
    port: int
    told: Callable[[str], None]
    closes: Closes = field(init=False)
    _tick: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        first = self.sampler.latest().fds
        self.closes = Closes(self.setup.judgement.settle, base=float(first or 0))

    def rest(self, tick: Callable[[], None]) -> Quiet:
        """Wait until the service is at rest, dead, or out of patience. tick: called while it waits.

        Whether a client is still connected is left to ``observe``: a census has to walk the kernel's sockets anyway,
        and to walk them twice was most of what the harness burnt meanwhile.
        """
        self._tick = tick
        return self._rest(None)

    def _rest(
        self, port: int | None, hold: float | None = None, back: Callable[[], bool] | None = None
    ) -> Quiet:
        """hold: seconds without change while more than at the last level is held. back: it is not."""
        closes = self.closes
        # With a retention time nothing that closes late is waited for: the judge tells it apart by its fall.
        late = self.setup.judgement.retain > 0
        hold = (closes.settle if late else closes.hold) if hold is None else hold
        return rest(
            self.sampler,
            Stillness(
                window=closes.window,
                settle=self.setup.judgement.settle,
                patience=max(self.setup.judgement.patience, 3 * hold),
                pace=self.setup.probe_interval,
                hold=hold,
                accept_falling=late,
            ),
            port=port,
            clock=self.context.clock,
            stopped=lambda: self.context.interrupt.is_set() or not self.target.alive,
            tick=self._tick,
            back=lambda level: back() if back else closes.back(level.get("fds")),
        )

    def now(self, since: float) -> Quiet:
        """The counts as they are, however they move: what a service releases late is watched while it falls."""
        sample = self.sampler.latest()
        names = {"fds": sample.fds, "threads": sample.threads, "processes": sample.processes}
        level = {name: float(value) for name, value in names.items() if value is not None}
        used = [one for one in self.sampler.samples() if one.at >= since]
        cores = cores_used(used, sample.at - since) if used else None
        return Quiet(bool(level), "", level, 0.0, cores)

    def initial(self) -> dict[Key, float]:
        """The levels before the first client, as far as they can be read at once."""
        looks = self._censuses(1)
        found: dict[Key, float] = {}
        for census in looks:
            found.update(census_levels(census))
        counters, _ = self.runtime.read()
        found.update(counters)
        counted = self.broker.count() if self.broker else None
        if counted and found:
            found[Key("broker-peers")] = float(counted.peers)
        return found

    def observe(
        self, step: CycleSpec, ledger: Ledger, quiet: Quiet, started: float, load_ended: float
    ) -> Observation:
        """Everything there is to read now, beside what the swarm counted. A client that is still connected is
        waited for first, and so are sockets of departed clients where the service has closed such sockets late."""
        closes = self.closes
        if step.connections:
            closes.left(load_ended)
        counters, looks = self._read(quiet)
        if quiet.settled and self._connected(looks):
            quiet = self._rest(self.port)
            counters, looks = self._read(quiet)
        late = self.setup.judgement.retain > 0
        if quiet.settled and not late and closes.hold < closes.slowest and self._unnoticed(looks):
            quiet = self._rest(None, closes.slowest, lambda: not self._unnoticed(self._censuses(1)))
            counters, looks = self._read(quiet)
        levels = quiet.levels(*looks)
        lag = closes.watch(self.sampler.samples(), self.context.clock())
        if quiet.settled and self.target.alive:
            closes.level(quiet.level.get("fds"), unnoticed(levels), held=quiet.held)
            if not quiet.restless:
                closes.moved = max(closes.moved, quiet.close_lag)
        levels.update(counters)
        counted = self.broker.count() if self.broker else None
        if counted and levels:
            levels[Key("broker-peers")] = float(counted.peers)
        return Observation(
            spec=step,
            ledger=ledger,
            levels=levels,
            started=started,
            ended=self.context.clock(),
            load_ended=load_ended,
            settled=quiet.settled,
            unsettled=quiet.moving,
            complete=self.target.alive and not self.context.interrupt.is_set(),
            close_lag=max(lag, quiet.close_lag if step.connections else 0.0),
            broker=counted,
            census=looks[-1] if looks else None,
            events=self._events(started),
            idle_counts=self._idle_counts(load_ended if step.connections else started),
        )

    def connected(self) -> Reading | None:
        """Levels while clients are connected; None when nothing could be read."""
        at = self.context.clock()
        census = self._census()
        if census is None:
            return None
        levels = census_levels(census)
        counters, note = self.runtime.read()  # after the census: it opens a connection of its own
        if note:
            self.told(note)
        return Reading(at, {**levels, **counters})

    def _idle_counts(self, since: float) -> tuple[tuple[float, float, float], ...]:
        """The hot counts since the last client left, one entry for each change."""
        found: list[tuple[float, float, float]] = []
        for sample in self.sampler.samples():
            if sample.at < since or sample.fds is None or sample.threads is None:
                continue
            counts = (float(sample.fds), float(sample.threads))
            if not found or found[-1][1:] != counts:
                found.append((sample.at, *counts))
        if len(found) > MOST_CHANGES:
            stride = -(-len(found) // MOST_CHANGES)
            found = [*found[::stride], found[-1]]
        return tuple(found)

    def _read(self, quiet: Quiet) -> tuple[dict[Key, float], list[Census]]:
        # Counters before the census: their collection lets go of descriptors that only garbage still holds.
        counters = self._counters(quiet)
        return counters, self._censuses(LOOKS if quiet.restless else 1)

    def _connected(self, looks: list[Census]) -> bool:
        """Whether somebody is. No descriptor of an accepted connection, no client; else the kernel is asked."""
        if self.context.interrupt.is_set() or not self.target.alive:
            return False
        if looks and looks[0].fds and not looks[0].fds.keys() & {TCP_IN, UNCLASSIFIED}:
            return False
        return self.sampler.inbound(self.port) != 0

    def _unnoticed(self, looks: list[Census]) -> bool:
        """More sockets of departed clients are held than at the last level."""
        return bool(looks) and unnoticed(census_levels(looks[-1])) > self.closes.unnoticed

    def _counters(self, quiet: Quiet) -> dict[Key, float]:
        """Levels from inside, once at rest. What the reading itself opened is given time to go."""
        if not quiet.settled or self.context.interrupt.is_set() or not self.target.alive:
            return {}
        levels, note = self.runtime.read()
        if note:
            self.told(note)
        if levels:
            after(self.sampler, quiet.level, clock=self.context.clock)
        return levels

    def _events(self, since: float) -> tuple[str, ...]:
        """What happened to processes that were there before: a restart must show as a restart, never as a
        fix. One that only lived within the cycle, such as a command that was run, is none."""
        told = [event for sample in self.sampler.samples() if sample.at >= since for event in sample.events]
        new = {event.removesuffix(" started") + " " for event in told if event.endswith(" started")}
        kept = [e for e in told if not e.endswith(" started") and not any(e.startswith(pid) for pid in new)]
        return tuple(kept[:MOST_EVENTS])

    def _censuses(self, looks: int) -> list[Census]:
        """What can be read now; several times, a sample apart, of a service that does not hold still."""
        found: list[Census] = []
        for look in range(looks):
            if self.context.interrupt.wait(self.setup.probe_interval if look else 0.0):
                break
            if taken := self._census():
                found.append(taken)
        return found

    def _census(self) -> Census | None:
        if not self.target.alive:
            return None
        try:
            # Slow where a tree has hundreds of processes: whoever stops the run does not wait for it.
            return call_cancellable(
                self.context.interrupt.is_set, lambda: self.sampler.census(self.context.clock()), "a census"
            )
        except HarnessError:
            return None
