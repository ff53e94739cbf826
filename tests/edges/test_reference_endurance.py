"""The fixed service under a load like that of a service in production: 5,000 streams on one core, 100 restarts.

Both print the figure that they measured. They take minutes: ``make test-long``.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from pathlib import Path

import pytest

from tests.edges.reference_process import Client, running, wait_for

STREAMS = 5000
CONNECT_RATE = 250  # streams opened per second
INTERVAL = 5.0  # seconds between two events of a stream, as published
JITTER = 0.02  # share of the interval by which a stream's pace differs (harness.reference.streams)
WATCHED = 30.0  # seconds of events, once all streams are open
LATENESS = 0.25  # seconds
RESTARTS = 100
SPARE = 200  # descriptors beside those of the streams


class Arrivals:
    """Many streams on plain sockets; when each event arrived, and how much later than its stream's pace allows."""

    def __init__(self, port: int, source: str) -> None:
        self.address, self.source = ("127.0.0.1", port), source
        self.selector = selectors.DefaultSelector()
        self.last: dict[socket.socket, float] = {}
        self.late: list[float] = []
        self.events = 0
        self.ended = 0

    def open(self) -> None:
        """One more stream, which does not wait for its head."""
        stream = socket.create_connection(self.address, timeout=30, source_address=(self.source, 0))
        stream.sendall(b"GET /dashboard/sse HTTP/1.1\r\nHost: test\r\n\r\n")
        stream.setblocking(False)
        self.selector.register(stream, selectors.EVENT_READ)

    def read(self, until: float) -> None:
        """Read what arrives until then."""
        while (left := until - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                stream = key.fileobj
                assert isinstance(stream, socket.socket)
                data = stream.recv(1 << 16)
                now = time.monotonic()
                if not data:
                    self.selector.unregister(stream)
                    self.ended += 1
                elif b"event: dashboard-update" in data:
                    if stream in self.last:
                        self.events += 1
                        self.late.append(max(0.0, now - self.last[stream] - INTERVAL * (1 + JITTER)))
                    self.last[stream] = now

    def close(self) -> None:
        """Disconnect all of them."""
        for key in list(self.selector.get_map().values()):
            stream = key.fileobj
            assert isinstance(stream, socket.socket)
            stream.close()
        self.selector.close()


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is not enough for service and clients")
def test_five_thousand_streams_on_one_core_are_on_time(tmp_path: Path) -> None:
    arguments = ("--profile", "fixed", "--real-time")
    with running(tmp_path / "log", *arguments, nofile=STREAMS + SPARE) as (service, _):
        cores = sorted(os.sched_getaffinity(0))
        for pid in service.tree():
            os.sched_setaffinity(pid, {cores[0]})
        os.sched_setaffinity(0, set(cores[1:]))
        arrivals = Arrivals(service.port or 0, "127.0.0.9")
        try:
            for number in range(STREAMS):
                arrivals.open()
                if number % 25 == 24:  # arrivals are spread, as those of people are
                    arrivals.read(time.monotonic() + 25 / CONNECT_RATE)
            wait_for(
                lambda: arrivals.read(time.monotonic() + 0.5) or len(arrivals.last) == STREAMS,
                lambda: f"every stream has an event; {len(arrivals.last)} have",
                60.0,
            )
            arrivals.late.clear()
            arrivals.events = 0
            arrivals.read(time.monotonic() + WATCHED)
            open_now = service.get("/debug/counters")["streams"]["open"]
        finally:
            arrivals.close()
            os.sched_setaffinity(0, set(cores))
        late = sorted(arrivals.late)
        p99 = late[int(len(late) * 0.99)]
        print(
            f"{open_now} streams, {arrivals.events} events in {WATCHED:g} s, "
            f"lateness p50 {late[len(late) // 2]:.3f} s, p99 {p99:.3f} s, at most {late[-1]:.3f} s"
        )
        assert (open_now, arrivals.ended) == (STREAMS, 0)
        assert arrivals.events > STREAMS * WATCHED / INTERVAL * 0.9
        assert p99 < LATENESS
        service.rest()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_starts_and_stops_leave_no_dangling_socket(tmp_path: Path) -> None:
    stopping = []
    for number in range(RESTARTS):
        with running(tmp_path / f"log-{number}", "--profile", "fixed", "--time-scale", "0.02") as (
            service,
            broker,
        ):
            client = Client(service, "/dashboard/sse")
            client.events(1)
            began = time.monotonic()
            assert service.stop() == 0, service.text()  # while the stream is open
            stopping.append(time.monotonic() - began)
            client.leave()
            assert "dangling" not in service.text()
            last = json.loads(service.text().splitlines()[-1])
            assert (last["event"], last["sockets"], last["contexts"], last["streams"]) == ("stopped", 0, 0, 0)
            wait_for(lambda broker=broker: broker.order("stats")["peers"] == 0, "the broker has no peer left")
    print(f"{RESTARTS} starts and stops, no dangling socket; a stop took at most {max(stopping):.2f} s")
