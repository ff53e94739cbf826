"""Thousands of streams for one cycle: opened at constant concurrency, left in order, counted exactly."""

from __future__ import annotations

import itertools
import random
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import gevent
import gevent.event

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger
from harness.swarm.stream import Order, Report, Stream, now

TICK = 0.02  # seconds between two looks at dwell and stall: one timer for all streams
REFUSALS = 50  # this many refusals in a row, with nothing accepted between: nobody listens any more
BUSY_LAG = 0.25  # seconds the loop may be late before the generator counts as the bottleneck
SAMPLES = 10_000  # first-event times kept for the percentiles


class Pool:
    """Runs one cycle at a time. on_report is called for every finished stream."""

    def __init__(
        self,
        url: str,
        *,
        stall_after: float,
        headers: Mapping[str, str],
        rng: random.Random,
        sources: Sequence[str] = (),
        on_report: Callable[[Report], None] = lambda _: None,
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._netloc = parts.netloc
        self._headers = dict(headers)
        self._stall_after = stall_after
        self._rng = rng
        self._sources = itertools.cycle(sources) if sources else None
        self._on_report = on_report
        self._requests: dict[tuple[str, bool], bytes] = {}

    def request(self, path: str, *, stream: bool) -> bytes:
        """The bytes of one GET. Points 12: Accept and Cache-Control of an event stream."""
        known = self._requests.get((path, stream))
        if known is None:
            headers = {
                "Host": self._netloc,
                "Accept": "text/event-stream" if stream else "*/*",
                "Cache-Control": "no-cache",
                **({} if stream else {"Connection": "close"}),
                **self._headers,
            }
            lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            known = self._requests[path, stream] = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return known

    def cycle(
        self, spec: CycleSpec, *, cancelled: Callable[[], bool], progress: Callable[[Ledger], None]
    ) -> Ledger:
        """Run a cycle to its end: every stream opened is finished when this returns."""
        loop = gevent.get_hub().loop
        if spec.connections == 0:
            return self._idle(spec, loop, cancelled)
        return _Cycle(self, spec, loop).run(cancelled, progress)

    def _idle(self, spec: CycleSpec, loop: Any, cancelled: Callable[[], bool]) -> Ledger:
        start = now(loop)
        while not cancelled() and now(loop) - start < spec.dwell:
            gevent.sleep(TICK)
        return Ledger(seconds=now(loop) - start)


class _Cycle:
    """The state of one cycle."""

    def __init__(self, pool: Pool, spec: CycleSpec, loop: Any) -> None:
        self.pool, self.spec, self.loop = pool, spec, loop
        info = socket.getaddrinfo(pool._host, pool._port, type=socket.SOCK_STREAM)[0]
        self.family, self.address = info[0], info[4]
        modes = DISCONNECT_MODES if spec.disconnect == "mixed" else (spec.disconnect,)
        self.modes = list(itertools.islice(itertools.cycle(modes), spec.connections))
        pool._rng.shuffle(self.modes)
        self.paths = itertools.cycle(spec.paths)
        self.live: set[Stream] = set()
        self.counts: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.by_path: Counter[str] = Counter()
        self.by_mode: Counter[str] = Counter()
        self.first_events: list[float] = []
        self.stream_seconds = 0.0
        self.refused = 0
        self.worst_lag = 0.0
        self.stopped = False
        self.changed = gevent.event.Event()
        self.start = now(loop)

    def run(self, cancelled: Callable[[], bool], progress: Callable[[Ledger], None]) -> Ledger:
        shown = 0.0
        while True:
            if not self.stopped and (cancelled() or self.refused >= REFUSALS):
                self.stopped = True
                for stream in list(self.live):
                    stream.leave()
            self._fill()
            if not self.live and (self.stopped or self.counts["opened"] >= self.spec.connections):
                return self.ledger()
            before = now(self.loop)
            self.changed.wait(TICK)
            self.changed.clear()
            moment = now(self.loop)
            self.worst_lag = max(self.worst_lag, moment - before - TICK)
            for stream in list(self.live):
                stream.tick(moment)
            if moment - shown >= 0.1:
                shown = moment
                progress(self.ledger())

    def _fill(self) -> None:
        spec = self.spec
        while (
            not self.stopped
            and len(self.live) < spec.concurrency
            and self.counts["opened"] < spec.connections
        ):
            mode = self.modes[self.counts["opened"]]
            self.counts["opened"] += 1
            streaming = spec.mode == "stream"
            order = Order(next(self.paths), mode, spec.dwell, spec.events, streaming)
            self.by_path[order.path] += 1
            self.by_mode[mode] += 1
            stream = Stream(
                order,
                self.address,
                self.family,
                self.pool.request(order.path, stream=streaming),
                stall_after=self.pool._stall_after,
                source=next(self.pool._sources) if self.pool._sources else None,
                done=self._done,
            )
            self.live.add(stream)

    def _done(self, stream: Stream) -> None:
        self.live.discard(stream)
        report = stream.report
        counts = self.counts
        for name in ("events", "comments", "bytes", "ids_missed", "ids_repeated", "ids_disordered"):
            counts[name] += getattr(report, name)
        self.stream_seconds += report.life
        if report.first_event is not None and len(self.first_events) < SAMPLES:
            self.first_events.append(report.first_event)
        if report.stalled:
            counts["stalls"] += 1
        if report.cause:
            counts["failed"] += 1
            self.causes[report.cause] += 1
            counts["rate_limited"] += report.cause == "rate-limited"
        else:
            counts["completed"] += 1
            counts["aborts"] += report.order.disconnect != "fin"
        self.refused = self.refused + 1 if report.cause == "refused" else 0
        self.changed.set()
        self.pool._on_report(report)

    def ledger(self) -> Ledger:
        counts = self.counts
        times = sorted(self.first_events)
        return Ledger(
            opened=counts["opened"],
            completed=counts["completed"],
            failed=counts["failed"],
            open_now=len(self.live),
            events=counts["events"],
            comments=counts["comments"],
            bytes=counts["bytes"],
            aborts=counts["aborts"],
            stalls=counts["stalls"],
            rate_limited=counts["rate_limited"],
            seconds=now(self.loop) - self.start,
            stream_seconds=self.stream_seconds,
            first_event_p50=times[len(times) // 2] if times else None,
            first_event_p99=times[min(len(times) - 1, len(times) * 99 // 100)] if times else None,
            causes=dict(self.causes),
            by_path=dict(self.by_path),
            by_mode=dict(self.by_mode),
            ids_missed=counts["ids_missed"],
            ids_repeated=counts["ids_repeated"],
            ids_disordered=counts["ids_disordered"],
            saturated=self.worst_lag > BUSY_LAG,
        )
