"""The clients that the swarm is compared with: a bare baseline, and Locust's own users.

Every rival is used in its fastest way: no spawning by Locust's dispatcher, no think time, at most OPENING streams being
opened at once, and events are only counted.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.lock
import gevent.socket
import httptools
from locust import FastHttpUser, HttpUser
from locust.env import Environment

from bench._swarm_terms import OPENING, PROBE, REQUEST, stamp


class Greenlets(ABC):
    """Streams that take a greenlet each. A subclass has ``one``, which counts events and opened."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.url = f"http://{host}:{port}"
        self.events = self.opened = 0
        self.lags: list[float] = []
        self.stopping = False
        self._gate = gevent.lock.BoundedSemaphore(OPENING)
        self._running: list[gevent.Greenlet] = []

    @abstractmethod
    def one(self, begun: Callable[[], None], limit: int, probe: bool) -> None:
        """Open a stream, call ``begun`` at its first event, and stay for ``limit`` events (0: for ever)."""

    def _begun(self) -> None:
        self.opened += 1
        self._gate.release()

    def warm(self) -> None:
        """One stream, so that what is made once is there before anything is measured."""
        self.one(lambda: None, 1, False)

    def open(self, count: int) -> None:
        """Open more streams; returns before all are open."""
        gevent.spawn(self._open, count)

    def _open(self, count: int) -> None:
        for index in range(count):
            self._gate.acquire()
            self._running.append(gevent.spawn(self._hold, index % PROBE == 0))

    def _hold(self, probe: bool) -> None:
        self.one(self._begun, 0, probe)

    def churn(self, seconds: float, concurrency: int) -> tuple[int, float]:
        """(streams, seconds) of opening, one event, closing."""
        done = [0]
        start = time.monotonic()
        ends = start + seconds

        def again() -> None:
            while time.monotonic() < ends:
                self.one(lambda: None, 1, False)
                done[0] += 1

        gevent.joinall([gevent.spawn(again) for _ in range(concurrency)], raise_error=True)
        return done[0], time.monotonic() - start

    def end(self) -> dict[str, Any]:
        """What was counted; the streams end with the process."""
        return {"events": self.events, "wrong": 0}


class Yardstick(Greenlets):
    """A gevent socket in a greenlet per stream, httptools, counting blank lines; nothing else."""

    def one(self, begun: Callable[[], None], limit: int, probe: bool) -> None:
        stream = Body(self, begun)
        sock = gevent.socket.socket()
        sock.connect(self.address)
        sock.sendall(REQUEST)
        parser = httptools.HttpResponseParser(stream)
        while chunk := sock.recv(16384):
            parser.feed_data(chunk)
            if probe:
                self.lags.append(time.monotonic() - stamp(chunk))
            if stream.events >= limit > 0:
                break
        sock.close()


class Body:
    """httptools' protocol, with nothing but the body."""

    __slots__ = ("begun", "events", "owner")

    def __init__(self, owner: Greenlets, begun: Callable[[], None]) -> None:
        self.owner, self.begun, self.events = owner, begun, 0

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        found = body.count(b"\n\n")
        if not self.events and found:
            self.begun()
        self.events += found
        self.owner.events += found


class LocustUsers(Greenlets):
    """One Locust user per stream."""

    kind: type[Any]

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.environment = Environment(user_classes=[self.kind], host=self.url)
        self.environment.create_local_runner()
        self.kind.host = self.url
        self._users: list[Any] = []

    def churn(self, seconds: float, concurrency: int) -> tuple[int, float]:
        """As in a run: each user stays and opens one stream after another."""
        self._users = [self.kind(self.environment) for _ in range(concurrency)]
        return super().churn(seconds, concurrency)

    def one(self, begun: Callable[[], None], limit: int, probe: bool) -> None:
        user = self._users.pop() if self._users else self.kind(self.environment)
        try:
            self.watch(user, begun, limit, probe)
        finally:
            if limit:
                self._users.append(user)

    @abstractmethod
    def watch(self, user: Any, begun: Callable[[], None], limit: int, probe: bool) -> None:
        """The body of the user's task."""

    def _count(self, line: bytes, seen: int, begun: Callable[[], None], probe: bool) -> int:
        """One more event, for a line that carries its data."""
        self.events += 1
        if not seen:
            begun()
        if probe:
            self.lags.append(time.monotonic() - stamp(line))
        return seen + 1


class Fast(LocustUsers):
    """FastHttpUser with ``readline``: its own iter_lines fills 1 KiB before it yields."""

    class kind(FastHttpUser):  # noqa: N801 - Locust names its entries by the class
        abstract = True
        network_timeout = connection_timeout = 3600.0

    def watch(self, user: Any, begun: Callable[[], None], limit: int, probe: bool) -> None:
        with user.client.get("/events", stream=True, catch_response=True) as response:
            stream, seen = response.stream, 0
            while line := stream.readline(b"\n"):
                if line.startswith(b"data:"):
                    seen = self._count(line, seen, begun, probe)
                    if seen == limit:
                        break
            stream.release()


class Plain(LocustUsers):
    """HttpUser with ``iter_lines(chunk_size=1)``: a larger chunk waits until it is full."""

    class kind(HttpUser):  # noqa: N801
        abstract = True

    def watch(self, user: Any, begun: Callable[[], None], limit: int, probe: bool) -> None:
        with user.client.get("/events", stream=True, catch_response=True) as response:
            seen = 0
            for line in response.iter_lines(chunk_size=1):
                if line.startswith(b"data:"):
                    seen = self._count(line, seen, begun, probe)
                    if seen == limit:
                        break
            response.close()
