"""Thousands of streams for one cycle: an exact number, opened at constant concurrency, then drained."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import gevent
import gevent.event

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Phase
from harness.core.errors import ConfigError
from harness.core.sse.decoder import Decoder
from harness.core.sse.lines import FIELD
from harness.core.sse.shapes import BARE, Shape
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.request import Request
from harness.http.route import Router
from harness.swarm.exchange import Exchange
from harness.swarm.order import Order, Report
from harness.swarm.requests import Clients, Requests
from harness.swarm.saturation import Saturation
from harness.swarm.setup import SwarmSetup
from harness.swarm.statistics import FLUSH, GAP, Statistics, none_open
from harness.swarm.stream import Stream
from harness.swarm.tally import Outcome, Tally
from harness.swarm.wheel import Wheel

LOOK = 0.1  # seconds between two looks at cancelled(), and two calls of progress: each costs 0.2 ms
GIVE_UP = 0.5  # seconds of nothing but refusals after which nobody listens any more
GIVE_UP_COUNT = 5
NOBODY = frozenset({causes.REFUSED, causes.UNREACHABLE, causes.TIMEOUT, causes.GENERATOR})


class Pool:
    """Runs one cycle at a time; what it needs for that lives as long as the pool."""

    def __init__(self, setup: SwarmSetup, *, rng: random.Random, statistics: Statistics | None) -> None:
        load = setup.load
        self.load, self.linger = load, setup.linger
        self.endpoint = Endpoint.parse(setup.host)
        self.router = Router(insecure=load.insecure, ca=load.ca)
        self.wheel = Wheel()
        self.rng = rng
        self.statistics = statistics
        self.clients = Clients(setup)
        self.opened = 0  # over all cycles
        self.sources: Iterator[str | None] = itertools.cycle(load.source_addresses or (None,))

    def cycle(
        self, spec: CycleSpec, *, cancelled: Callable[[], bool], progress: Callable[[Outcome], None]
    ) -> Outcome:
        """Run a cycle to its end: nothing of it is open when this returns. Raises ConfigError.

        Blocks the greenlet. progress is called about ten times a second.
        """
        cycle = _Cycle(self, spec)
        try:
            if spec.connections == 0:
                cycle.rest(cancelled)
            else:
                cycle.run(cancelled, progress)
        finally:
            cycle.end()
        return cycle.outcome()


class _Cycle:
    """The state of one cycle, and the owner of its streams."""

    def __init__(self, pool: Pool, spec: CycleSpec) -> None:
        self.pool, self.spec = pool, spec
        self.loop = gevent.get_hub().loop
        self.wheel = pool.wheel
        self.route = pool.router.route(pool.endpoint)
        self.tally = Tally()
        self.live: set[Stream] = set()
        self.opening = 0
        self.stopped: str | None = None  # why no more are opened
        self.refusing: float | None = None  # since when nothing but refusals
        self.refusals = 0
        self.started = pool.wheel.clock()
        self.saturation = Saturation(self.started)
        self.modes = _modes(spec.disconnect, pool.rng)
        self.silent = 0  # streams opened that do not read
        self.paths = itertools.cycle(spec.paths)
        self.finished = gevent.event.Event()
        load, streaming = pool.load, spec.mode == "stream"
        again = load.keep_alive and not streaming
        self.opens = Exchange if again else Stream
        self.requests = Requests(pool.endpoint, load, pool.clients, spec.paths, streaming=streaming)
        self.orders: dict[tuple[str, str, bool], Order] = {}
        # The fields of a path's events, so that no stream need find them out.
        self.shapes: dict[str, Shape] = {}
        # Made once: a sum for each stream would be a number of its own in each.
        self.max_event, self.max_line = load.max_event, load.max_event + FIELD
        self.gaps = {path: pool.statistics.times(GAP, path) for path in spec.paths} if pool.statistics else {}

    def rest(self, cancelled: Callable[[], bool]) -> None:
        """An idle cycle: as long as its dwell, without a client."""
        ends = self.started + self.spec.dwell
        while not cancelled() and (left := ends - self.wheel.clock()) > 0:
            gevent.sleep(min(LOOK, left))

    def run(self, cancelled: Callable[[], bool], progress: Callable[[Outcome], None]) -> None:
        """Open, refill, drain."""
        self.wheel.on_tick = self._tick
        self.wheel.hold()
        if self.pool.statistics:
            self.pool.statistics.open_now = lambda: len(self.live)
        poured = self.started
        self._fill()
        while not self.finished.wait(LOOK):
            if cancelled():
                self._stop("cancelled")
            progress(self.outcome())
            moment = self.wheel.clock()
            if self.pool.statistics and moment - poured >= FLUSH:
                poured = moment
                self.pool.statistics.pour()

    def end(self) -> None:
        """Nothing may be left, whatever happened."""
        self.stopped = self.stopped or "ended"
        for stream in list(self.live):  # a copy, because a stream that fails leaves the set
            stream.fail(causes.CANCELLED)
        if self.pool.statistics:
            self.pool.statistics.open_now = (
                none_open  # or the cycle and its times would stay until the next one
            )
        if self.wheel.on_tick is not None:
            self.wheel.on_tick = None
            self.wheel.release()
        if self.pool.statistics:
            self.pool.statistics.pour()

    def outcome(self) -> Outcome:
        """The count so far."""
        reason = self.saturation.reason
        notes = [text for text in (self.stopped if self.stopped != "ended" else None, reason) if text]
        seconds = self.wheel.clock() - self.started
        found = self.tally.outcome(seconds, saturated=reason is not None, notes=notes)
        if self.spec.phase is not Phase.HOLD:
            return found
        # Levels are read while the streams are open, so what they have received so far counts now.
        events = found.ledger.events + sum(stream.report.events for stream in self.live)
        return replace(found, ledger=replace(found.ledger, events=events))

    def _stop(self, reason: str) -> None:
        if self.stopped is None:
            self.stopped = reason
            for stream in list(self.live):
                stream.report.cause = stream.report.cause or causes.CANCELLED
                stream.leave(hold=False)
            self._fill()

    def _fill(self) -> None:
        """Open what may be opened now; see whether all is done."""
        spec, tally, live = self.spec, self.tally, self.live
        while (
            self.stopped is None
            and tally.opened < spec.connections
            and len(live) < spec.concurrency
            and self.opening < (self.pool.load.burst if self.refusing is None else 1)
        ):
            self._open()
        if not live and (self.stopped is not None or tally.opened >= spec.connections):
            self.finished.set()

    def _open(self) -> None:
        # Paths and modes advance with each stream, so that each part of a cycle has its share of every kind.
        path, mode = next(self.paths), next(self.modes)
        # Evenly among the others, whatever their number.
        silent = self.silent * self.spec.connections < self.spec.stalled * (self.tally.opened + 1)
        if silent:
            self.silent += 1
            mode = "stall"
        # Thousands of streams are alike: one order serves them all, and none of them has to keep its own.
        order = self.orders.get((path, mode, silent))
        if order is None:
            spec = self.spec
            # In a hold cycle a healthy service may have nothing to say: clients stay for longer than for an event.
            stall_after = self.pool.load.stall
            if spec.phase is Phase.HOLD:
                stall_after = max(stall_after, spec.dwell)
            order = self.orders[path, mode, silent] = Order(
                path, mode, spec.dwell, spec.events, stall_after, self.pool.linger, silent
            )
        tally = self.tally
        invalid = tally.invalid < self.spec.invalid * (tally.opened + 1)
        request = self.requests.of(path, invalid=invalid)
        tally.open(path)
        tally.invalid += invalid
        self.pool.opened += 1
        tally.clients = self.pool.clients.distinct(self.pool.opened)
        self.opening += 1
        shape = self.shapes.get(path, BARE)
        decoder = Decoder(check_ids=True, max_line=self.max_line, max_event=self.max_event, shape=shape)
        source = next(self.pool.sources)
        self.live.add(self.opens(self, order, request, self.route, decoder, source=source))

    def begun(self, stream: Stream) -> None:
        """One connect less under way."""
        self.opening -= 1
        if stream.report.connect is not None:
            self.refusing = None
        if len(self.live) < self.spec.concurrency and self.refusing is None and stream in self.live:
            self._fill()

    def headed(self, stream: Stream) -> None:
        """Its report has the figures, once it is over."""

    def first(self, report: Report) -> None:
        """Told by its report, once it is over."""

    def gap(self, report: Report, seconds: float, events: int) -> None:
        """Between two events."""
        gaps = self.gaps.get(report.order.path)
        if gaps is not None:
            gaps.add(seconds)
            if events > 1:
                gaps.add(0.0, events - 1)

    def over(self, stream: Stream) -> None:
        """Count it, and open the next."""
        self.live.discard(stream)
        report = stream.report
        self.tally.close(report, stream.decoder)
        path = report.order.path
        if report.events:
            self.shapes[path] = stream.decoder.shape
        if self.pool.statistics:
            self.pool.statistics.over(report, path)
            self.pool.statistics.ids(stream.decoder.ids, path)
        if report.cause in NOBODY and report.connect is None:
            self._refused(report.cause)
        else:
            self._fill()

    def _refused(self, cause: str | None) -> None:
        """Do not hammer a service that has gone: one attempt per tick, and soon none."""
        moment = self.wheel.clock()
        if self.refusing is None:
            self.refusing, self.refusals = moment, 0
        self.refusals += 1
        if moment - self.refusing >= GIVE_UP and self.refusals >= GIVE_UP_COUNT:
            self._stop(f"stopped early: every connection was {cause} for {GIVE_UP:g} s")

    def _tick(self, moment: float, late: float) -> None:
        self.saturation.tick(moment, late)
        self._fill()

    def reroute(self, stream: Stream, request: Request) -> None:
        """Follow a redirect; another host's name is looked up in a greenlet."""
        route = self.pool.router.known(request.endpoint)
        if route is not None:
            stream.follow(request, route, next(self.pool.sources))
        else:
            gevent.spawn(self._look_up, stream, request)

    def _look_up(self, stream: Stream, request: Request) -> None:
        try:
            route = self.pool.router.route(request.endpoint)
        except ConfigError:
            stream.fail(causes.UNREACHABLE)
        else:
            stream.follow(request, route, next(self.pool.sources))


def _modes(disconnect: str, rng: random.Random) -> Iterator[str]:
    """Ways to leave, for ever; ``mixed``: equal parts, each round in an order of its own."""
    while True:
        if disconnect != "mixed":
            yield disconnect
            continue
        yield from rng.sample(DISCONNECT_MODES, len(DISCONNECT_MODES))
