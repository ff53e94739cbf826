"""Runs the streams of one cycle: an exact number, opened at constant concurrency, then drained."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import gevent
import gevent.event

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Phase
from harness.core.errors import ConfigError
from harness.core.note import Note, NoteKind
from harness.core.sse.decoder import Decoder
from harness.core.sse.lines import FIELD_BYTES
from harness.core.sse.shapes import BARE, Shape
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.request import Request
from harness.http.route import Router
from harness.swarm.exchange import Exchange
from harness.swarm.requests import Clients, Requests
from harness.swarm.saturation import Saturation
from harness.swarm.setup import SwarmSetup
from harness.swarm.statistics import FLUSH_INTERVAL, GAP, Statistics, none_open
from harness.swarm.stream import Stream
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.tally import Outcome, Tally
from harness.swarm.timer_wheel import TimerWheel

POLL = 0.1  # seconds between two calls of cancelled() and of progress(), each of which takes 0.2 ms
GIVE_UP = 0.5  # seconds of nothing but refused connections after which the cycle stops
# Failures that are needed as well, so that one slow failure does not end a cycle.
GIVE_UP_COUNT = 5
# Causes of a connect that failed. A generator without descriptors or ports opens no stream either, so it slows down in
# the same way.
CONNECT_FAILED = frozenset({causes.REFUSED, causes.UNREACHABLE, causes.TIMEOUT, causes.GENERATOR})


class Pool:
    """Runs one cycle at a time. Names looked up, statistics and the timer wheel are kept between cycles."""

    def __init__(self, setup: SwarmSetup, *, rng: random.Random, statistics: Statistics | None) -> None:
        load = setup.load
        self.load, self.linger = load, setup.linger
        self.endpoint = Endpoint.parse(setup.host)
        self.router = Router(insecure=load.insecure, ca=load.ca)
        self.wheel = TimerWheel()
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
                cycle.idle(cancelled)
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
        self.opening = 0  # streams that connect or wait for their response head
        self.stopped = False  # no further streams are opened
        self.cut_short = ""  # why the cycle was stopped before its end; "" if it was not
        self.refused_since: float | None = None  # since when every connection was refused
        self.refusals = 0
        self.started = pool.wheel.clock()
        self.saturation = Saturation(self.started)
        self.modes = _modes(spec.disconnect, pool.rng)
        self.not_reading = 0  # streams opened that do not read
        self.paths = itertools.cycle(spec.paths)
        self.finished = gevent.event.Event()
        load, streaming = pool.load, spec.mode == "stream"
        persistent = load.keep_alive and not streaming
        self.stream_type = Exchange if persistent else Stream
        self.requests = Requests(pool.endpoint, load, pool.clients, spec.paths, streaming=streaming)
        self.stream_specs: dict[tuple[str, str, bool], StreamSpec] = {}
        # The fields of each path's events, as the last stream found them: the next one decodes them faster.
        self.shapes: dict[str, Shape] = {}
        # Computed once, so that thousands of streams share one integer object.
        self.max_event, self.max_line = load.max_event, load.max_event + FIELD_BYTES
        self.gaps = {path: pool.statistics.times(GAP, path) for path in spec.paths} if pool.statistics else {}

    def idle(self, cancelled: Callable[[], bool]) -> None:
        """Wait for the dwell of a cycle that has no clients."""
        ends = self.started + self.spec.dwell
        while not cancelled() and (left := ends - self.wheel.clock()) > 0:
            gevent.sleep(min(POLL, left))

    def run(self, cancelled: Callable[[], bool], progress: Callable[[Outcome], None]) -> None:
        """Open streams, replace those that close, and wait until all are closed."""
        self.wheel.on_tick = self._tick
        # The wheel must tick even while no stream is in it: its ticks open streams and measure how late the loop is.
        self.wheel.hold()
        if self.pool.statistics:
            self.pool.statistics.open_now = lambda: len(self.live)
        flushed = self.started
        self._fill()
        while not self.finished.wait(POLL):
            if cancelled():
                self._stop("cancelled")
            progress(self.outcome())
            moment = self.wheel.clock()
            if self.pool.statistics and moment - flushed >= FLUSH_INTERVAL:
                flushed = moment
                # Locust's web UI draws its charts during the cycle, so its figures cannot wait for the end.
                self.pool.statistics.flush()

    def end(self) -> None:
        """Close whatever is still open, also after an error."""
        self.stopped = True
        for stream in list(self.live):  # a copy, because a stream that fails leaves the set
            stream.fail(causes.CANCELLED)
        if self.pool.statistics:
            # The callback refers to this cycle, which would otherwise stay in memory until the next one.
            self.pool.statistics.open_now = none_open
        if self.wheel.on_tick is not None:
            self.wheel.on_tick = None
            self.wheel.release()
        if self.pool.statistics:
            self.pool.statistics.flush()

    def outcome(self) -> Outcome:
        """The count so far."""
        reason = self.saturation.reason
        notes = [Note(NoteKind.LOAD_CUT_SHORT, self.cut_short)] if self.cut_short else []
        if reason is not None:
            notes.append(Note(NoteKind.GENERATOR_LIMIT, reason))
        seconds = self.wheel.clock() - self.started
        found = self.tally.outcome(seconds, saturated=reason is not None, notes=notes)
        if self.spec.phase is not Phase.HOLD:
            return found
        # Levels are read while the streams are open, so what they have received so far counts now.
        events = found.ledger.events + sum(stream.report.events for stream in self.live)
        return replace(found, ledger=replace(found.ledger, events=events))

    def _stop(self, reason: str) -> None:
        if not self.stopped:
            # Streams that disconnect call ``on_closed``, which would otherwise open new ones.
            self.stopped, self.cut_short = True, reason
            for stream in list(self.live):
                stream.report.cause = stream.report.cause or causes.CANCELLED
                # The hold would only delay the end of a cycle that was stopped.
                stream.disconnect(hold=False)
            self._fill()

    def _fill(self) -> None:
        """Open as many streams as are allowed now, or finish when all are closed."""
        spec, tally, live = self.spec, self.tally, self.live
        while (
            not self.stopped
            and tally.opened < spec.connections
            and len(live) < spec.concurrency
            # While every connection is refused, one attempt at a time shows whether the service is back.
            and self.opening < (self.pool.load.burst if self.refused_since is None else 1)
        ):
            self._open()
        if not live and (self.stopped or tally.opened >= spec.connections):
            self.finished.set()

    def _open(self) -> None:
        # Paths and modes advance with each stream, so that every stretch of a cycle has all of them.
        path, mode = next(self.paths), next(self.modes)
        # Spread those that do not read evenly over the cycle.
        not_reading = self.not_reading * self.spec.connections < self.spec.stalled * (self.tally.opened + 1)
        if not_reading:
            self.not_reading += 1
            mode = "stall"
        # Streams of one kind share a specification, which saves memory at thousands of streams.
        stream_spec = self.stream_specs.get((path, mode, not_reading))
        if stream_spec is None:
            spec = self.spec
            # In a hold cycle a healthy service may send nothing for long, because clients stay beyond their events.
            stall_after = self.pool.load.stall
            if spec.phase is Phase.HOLD:
                stall_after = max(stall_after, spec.dwell)
            stream_spec = self.stream_specs[path, mode, not_reading] = StreamSpec(
                path, mode, spec.dwell, spec.events, stall_after, self.pool.linger, not_reading
            )
        tally = self.tally
        # Spread over the cycle in the same way.
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
        self.live.add(self.stream_type(self, stream_spec, request, self.route, decoder, source=source))

    def on_opened(self, stream: Stream) -> None:
        """Open the next stream, now that one connect is done."""
        self.opening -= 1
        if stream.report.connect is not None:
            self.refused_since = None
        if len(self.live) < self.spec.concurrency and self.refused_since is None and stream in self.live:
            self._fill()

    def on_head(self, stream: Stream) -> None:
        """Nothing to do: the report has the figures once the stream is closed."""

    def on_first_event(self, report: Report) -> None:
        """Nothing to do: the report has the time once the stream is closed."""

    def on_gap(self, report: Report, seconds: float, events: int) -> None:
        """Record the time between two events."""
        gaps = self.gaps.get(report.spec.path)
        if gaps is not None:
            gaps.add(seconds)
            if events > 1:
                # Only the first event of a read had to be waited for; the others arrived together with it.
                gaps.add(0.0, events - 1)

    def on_closed(self, stream: Stream) -> None:
        """Count the stream and open the next."""
        self.live.discard(stream)
        report = stream.report
        self.tally.close(report, stream.decoder)
        path = report.spec.path
        if report.events:
            self.shapes[path] = stream.decoder.shape
        if self.pool.statistics:
            self.pool.statistics.on_closed(report, path)
            self.pool.statistics.ids(stream.decoder.ids, path)
        if report.cause in CONNECT_FAILED and report.connect is None:
            self._refused(report.cause)
        else:
            self._fill()

    def _refused(self, cause: str | None) -> None:
        """Slow down to one attempt per tick while every connection is refused, and stop after GIVE_UP seconds."""
        moment = self.wheel.clock()
        if self.refused_since is None:
            self.refused_since, self.refusals = moment, 0
        self.refusals += 1
        if moment - self.refused_since >= GIVE_UP and self.refusals >= GIVE_UP_COUNT:
            self._stop(f"stopped early: every connection was {cause} for {GIVE_UP:g} s")

    def _tick(self, moment: float, late: float) -> None:
        self.saturation.tick(moment, late)
        self._fill()

    def on_redirect(self, stream: Stream, request: Request) -> None:
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
    """Ways to disconnect, without end; ``mixed``: equal parts, each round in random order."""
    while True:
        if disconnect != "mixed":
            yield disconnect
            continue
        yield from rng.sample(DISCONNECT_MODES, len(DISCONNECT_MODES))
