"""The harness's clients in bench/swarm.py: the pool, as in a run of the harness, and an SseUser per stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
from locust.env import Environment

from bench._swarm_rivals import LocustUsers
from bench._swarm_terms import PROBE, stamp
from harness.core.cycle import CycleSpec
from harness.core.sse.decoder import Decoder, Event
from harness.swarm import pool
from harness.swarm import stream as streams
from harness.swarm.cycle_queue import CycleQueue, cycle_user
from harness.swarm.load import LoadOptions
from harness.swarm.setup import SwarmSetup
from harness.swarm.statistics import Statistics
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.tally import Outcome
from harness.swarm.user import SseUser

PATH = "/events"
FOR_EVER = 3600.0
MANY = 10_000_000


class Pool:
    """The gated user of the swarm child: statistics, ids, stall detection and ledger are on."""

    def __init__(self, host: str, port: int) -> None:
        self.cycles = CycleQueue()
        environment = Environment(user_classes=[cycle_user(self.cycles)], host=f"http://{host}:{port}")
        runner = environment.create_local_runner()
        setup = SwarmSetup(f"http://{host}:{port}", LoadOptions(stall_after=30.0))
        self.cycles.prepare(setup, Statistics(environment))
        runner.start(1, spawn_rate=1)
        self.lags: list[float] = []
        self.reports: list[Report] = []
        self._cancelled = False
        self._running: gevent.Greenlet | None = None
        self._outcome: Outcome | None = None

    @property
    def events(self) -> int:
        """Events so far, from the reports of the streams themselves."""
        return sum(report.events for report in self.reports)

    def _run(self, connections: int, concurrency: int, events: int) -> Outcome:
        self._cancelled = False
        spec = CycleSpec(0, connections, concurrency, FOR_EVER, events, paths=(PATH,))
        return self.cycles.run(spec, lambda: self._cancelled, lambda _: None)

    def warm(self) -> None:
        """One stream."""
        self._run(1, 1, 1)

    def open(self, count: int) -> None:
        """Open a number of streams; returns before all are open."""
        self._running = gevent.spawn(self._run, count, count, 0)

    def watch_lag(self) -> None:
        """One stream in PROBE reads when its events were sent, and all are counted while they run."""
        pool.Decoder = self._decoder  # type: ignore[misc,assignment]
        streams.Report = self._report  # type: ignore[misc,assignment]

    def _decoder(self, **options: Any) -> Decoder:
        probe = len(self.reports) % PROBE == 0
        return _Timed(self.lags, **options) if probe else Decoder(**options)

    def _report(self, spec: StreamSpec) -> Report:
        report = Report(spec)
        self.reports.append(report)
        return report

    def churn(self, seconds: float, concurrency: int) -> tuple[int, float]:
        """(streams, seconds) of opening, one event, closing."""
        running = gevent.spawn(self._run, MANY, concurrency, 1)
        gevent.sleep(seconds)
        self._cancelled = True
        ledger = running.get().ledger
        return ledger.completed, ledger.seconds

    def end(self) -> dict[str, Any]:
        """Close every stream; returns the ledger."""
        assert self._running is not None
        self._cancelled = True
        ledger = self._running.get().ledger
        ids = ledger.ids_missed + ledger.ids_repeated + ledger.ids_disordered
        return {
            "events": ledger.events,
            "wrong": ids + ledger.stalls + ledger.failed - ledger.causes.get("cancelled", 0),
        }


class _Timed(Decoder):
    """A decoder that also reads when its events were sent."""

    __slots__ = ("_lags",)

    def __init__(self, lags: list[float], **options: Any) -> None:
        super().__init__(**options)
        self._lags = lags

    def feed(self, chunk: bytes) -> list[Event]:
        """As ``Decoder.feed``."""
        found = super().feed(chunk)
        if found:
            self._lags.append(time.monotonic() - stamp(chunk))
        return found


class Users(LocustUsers):
    """An SseUser of its own for each stream: what a locustfile does."""

    class kind(SseUser):  # noqa: N801
        abstract = True

    def watch(self, user: Any, begun: Callable[[], None], limit: int, probe: bool) -> None:
        with user.sse(PATH) as stream:
            for seen, event in enumerate(stream, start=1):
                self.events += 1
                if seen == 1:
                    begun()
                if probe:
                    self.lags.append(time.monotonic() - float(event.data.split(" ", 1)[0]))
                if seen == limit:
                    break
