"""What a small service does beside serving: one planted leak, or one behaviour that only looks like a leak.

A service calls the hooks of its behaviour and knows nothing else about it. ``chosen.of`` makes the behaviour that an
argument names.
"""

from __future__ import annotations

import collections
import gc
import importlib
import logging
import logging.handlers
import os
import pathlib
import random
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

TICK = 0.05  # seconds
EVERY = 0.02  # seconds between two events
RARELY = 0.5  # the same where each event counts: a client that stays for one is sent one
LOOKUP = 0.003  # seconds that an answer takes
LATE = 0.05  # the same where clients must disconnect before it, however busy the machine is
SLOW = 0.1  # seconds after which a reader counts as slow
SMALL, LARGE = b"data: hello\n\n", b"data: " + b"x" * 16384 + b"\n\n"
ABORTS = ("reset", "early")


class Refused(Exception):
    """The request is answered with this status instead of a stream."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Behaviour:
    """Serves and keeps nothing. large: events that fill a window. linger: seconds between the client's disconnect and
    the close. deaf: never closes after the client has disconnected; recycle: connections after which a worker is
    replaced. notices: a departure is noticed by a ``read`` at once or by a ``write`` that fails. overflow: what happens
    to events for a reader that does not read: ``wait``, ``buffer`` without limit, or ``drop``. plain: a short response
    instead of a stream. status: of every response. workers: threads of the pool that serves, 0 for one per connection.
    forgets: a stream does not end when its client disconnects."""

    event = SMALL
    every = EVERY
    lookup = LOOKUP
    linger = 0.0
    deaf = False
    keep_alive = False
    recycle = 0
    notices = "read"
    overflow = "wait"
    plain = False
    status = 200
    workers = 0
    forgets = False

    def started(self) -> None:
        """The service is about to listen."""

    def opened(self) -> None:
        """A request was read. Raises Refused, or OSError when a resource is exhausted: the response is a 503."""

    def answered(self) -> None:
        """The head of a response was sent."""

    def lent(self) -> bool:
        """Whether the handler of an answered stream got what it needs before its first event."""
        return True

    def sent(self) -> None:
        """An event was sent."""

    def streamed(self, own: list[object]) -> None:
        """An event was sent on a stream. own: what belongs to the stream and goes with it."""

    def left(self, way: str) -> None:
        """The client has gone: ``closed``, ``reset``, ``early``, ``half-close`` or ``slow``."""

    def tick(self) -> None:
        """Twenty times a second."""

    def asked(self, *, answered: bool) -> None:
        """The broker was asked."""


class Leak(Behaviour):
    """Keeps one thing for good, every ``nth`` time its driver acts."""

    def __init__(self, make: Callable[[], None], driver: str, nth: int) -> None:
        self.make, self.driver, self.nth = make, driver, nth
        self.count = 0
        self.lock = threading.Lock()
        if driver == "slow":
            self.event = LARGE
        elif driver == "event":
            self.every = RARELY
        elif driver in ("early", "answered"):
            self.lookup = LATE

    def _acted(self, driver: str) -> None:
        if driver != self.driver:
            return
        with self.lock:
            self.count += 1
            due = self.count % self.nth == 0
        if due:
            self.make()

    def opened(self) -> None:
        self._acted("connection")

    def answered(self) -> None:
        self._acted("answered")

    def sent(self) -> None:
        self._acted("event")

    def left(self, way: str) -> None:
        self._acted(way)
        if way in ABORTS:
            self._acted("abort")

    def tick(self) -> None:
        self._acted("time")

    def asked(self, *, answered: bool) -> None:
        if not answered:
            self._acted("timeout")


class Several(Behaviour):
    """More than one behaviour in the same service. What they set differently from a plain Behaviour holds."""

    def __init__(self, behaviours: Sequence[Behaviour]) -> None:
        self.behaviours = behaviours
        for name in (
            "event",
            "every",
            "lookup",
            "linger",
            "deaf",
            "keep_alive",
            "notices",
            "overflow",
            "status",
        ):
            plain = getattr(Behaviour, name)
            setattr(self, name, next((v for one in behaviours if (v := getattr(one, name)) != plain), plain))

    def started(self) -> None:
        for one in self.behaviours:
            one.started()

    def opened(self) -> None:
        for one in self.behaviours:
            one.opened()

    def answered(self) -> None:
        for one in self.behaviours:
            one.answered()

    def sent(self) -> None:
        for one in self.behaviours:
            one.sent()

    def streamed(self, own: list[object]) -> None:
        for one in self.behaviours:
            one.streamed(own)

    def left(self, way: str) -> None:
        for one in self.behaviours:
            one.left(way)

    def tick(self) -> None:
        for one in self.behaviours:
            one.tick()

    def asked(self, *, answered: bool) -> None:
        for one in self.behaviours:
            one.asked(answered=answered)


class Deaf(Behaviour):
    """Never closes what its client has closed."""

    deaf = True


class Pool(Behaviour):
    """A pool that makes one more with each connection until it has 64."""

    def started(self) -> None:
        self.pool: list[int] = []
        self.lock = threading.Lock()

    def opened(self) -> None:
        with self.lock:
            if len(self.pool) < 64:
                self.pool.append(os.eventfd(0))


class SlowPool(Pool):
    """The same, of 24, and it takes one more each time that work comes after a rest, whatever the load."""

    last = 0.0

    def opened(self) -> None:
        now = time.monotonic()
        with self.lock:
            if now - self.last > 0.5 and len(self.pool) < 24:
                self.pool.append(os.eventfd(0))
            self.last = now


class SteadyPool(Pool):
    """The same, of 24, and it takes one more with every hundredth connection: a leak until it is full."""

    count = 0

    def opened(self) -> None:
        with self.lock:
            self.count += 1
            if self.count % 100 == 0 and len(self.pool) < 24:
                self.pool.append(os.eventfd(0))


class Executor(Behaviour):
    """A thread pool that grows to its cap of 32 as work comes side by side."""

    def started(self) -> None:
        self.executor = ThreadPoolExecutor(32)

    def opened(self) -> None:
        self.executor.submit(time.sleep, LOOKUP)


class Cache(Behaviour):
    """The 2,000 most recent results of 1 kB."""

    def started(self) -> None:
        self.cache: collections.OrderedDict[int, bytearray] = collections.OrderedDict()
        self.lock = threading.Lock()
        self.key = 0

    def opened(self) -> None:
        with self.lock:
            self.key += 1
            self.cache[self.key] = bytearray(1024)
            if len(self.cache) > 2000:
                self.cache.popitem(last=False)


class Imports(Behaviour):
    """Modules that are loaded when they are first needed."""

    modules = (
        "decimal",
        "xml.dom.minidom",
        "email.mime.multipart",
        "sqlite3",
        "http.cookiejar",
        "zipfile",
        "csv",
    )
    count = 0

    def opened(self) -> None:
        self.count += 1
        which = self.count // 120
        if self.count % 120 == 0 and which <= len(self.modules):
            importlib.import_module(self.modules[which - 1])


class Arenas(Behaviour):
    """Buffers of all sizes, held for a while and freed: the allocator keeps what it got."""

    def started(self) -> None:
        self.held: collections.deque[list[bytes]] = collections.deque(maxlen=40)
        self.rng = random.Random(1)

    def opened(self) -> None:
        self.held.append([bytes(self.rng.randrange(500, 100_000)) for _ in range(4)])

    def tick(self) -> None:
        if self.held:
            self.held.popleft()


class Garbage(Behaviour):
    """Cycles of 10 kB that only the collector frees, and it seldom comes."""

    def started(self) -> None:
        gc.set_threshold(50_000, 20, 20)

    def opened(self) -> None:
        one: dict[str, object] = {"data": bytearray(10_000)}
        one["self"] = one


class GarbageFiles(Behaviour):
    """Files in cycles: closed when the collector finds them."""

    def opened(self) -> None:
        holder: list[object] = [open(__file__, "rb")]  # noqa: SIM115 - closed by the collector
        holder.append(holder)


class LateClose(Behaviour):
    """Closes 0.7 s after the client has disconnected."""

    linger = 0.7


class Janitor(Behaviour):
    """Twice a second three descriptors and a thread for 30 ms."""

    count = 0

    def tick(self) -> None:
        self.count += 1
        if self.count % 10 == 0:
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        held = [os.open("/", os.O_RDONLY) for _ in range(3)]
        time.sleep(0.03)
        for one in held:
            os.close(one)


class Shipper(Behaviour):
    """A log library that posts to a collector which is not there, once a second."""

    count = 0

    def tick(self) -> None:
        self.count += 1
        if self.count % 20 == 0:
            with socket.socket() as made:
                made.settimeout(0.01)
                made.connect_ex(("127.0.0.1", 9))


class LogFile(Behaviour):
    """A log file that grows and is rotated."""

    def started(self) -> None:
        name = pathlib.Path(tempfile.gettempdir()) / f"small-service-{os.getpid()}.log"
        handler = logging.handlers.RotatingFileHandler(name, maxBytes=64 * 1024, backupCount=2)
        self.log = logging.getLogger("access")
        self.log.setLevel(logging.INFO)
        self.log.propagate = False
        self.log.addHandler(handler)

    def opened(self) -> None:
        self.log.info("GET /events 200 %s", "-" * 80)


class Sessions(Behaviour):
    """A session per connection, with a descriptor, that expires after 1.5 s."""

    def started(self) -> None:
        self.sessions: collections.deque[tuple[float, int]] = collections.deque()

    def opened(self) -> None:
        self.sessions.append((time.monotonic() + 1.5, os.eventfd(0)))

    def tick(self) -> None:
        while self.sessions and self.sessions[0][0] <= time.monotonic():
            os.close(self.sessions.popleft()[1])


class Upstream(Behaviour):
    """A connection to another service for each request, closed after it."""

    def started(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            self.listener.accept()[0].close()

    def opened(self) -> None:
        socket.create_connection(self.listener.getsockname()).close()


class Helper(Behaviour):
    """A child process for every fiftieth connection, waited for."""

    count = 0

    def opened(self) -> None:
        self.count += 1
        if self.count % 50 == 0:
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


class Scratch(Behaviour):
    """A temporary file for each connection, closed and gone."""

    def opened(self) -> None:
        with tempfile.TemporaryFile() as made:
            made.write(b"x" * 1000)


class Busy(Behaviour):
    """Work that never rests: some percent of a core, whatever the clients do."""

    def tick(self) -> None:
        sum(range(60_000))


class KeepAlive(Behaviour):
    """Answers requests in full and keeps the connection for the next one."""

    keep_alive = True


class Recycled(Behaviour):
    """A worker that is replaced after 400 connections, as pre-fork servers do."""

    recycle = 400


BEHAVIOURS: dict[str, Callable[[], Behaviour]] = {
    "healthy": Behaviour,
    "deaf": Deaf,
    "pool": Pool,
    "slow-pool": SlowPool,
    "steady-pool": SteadyPool,
    "executor": Executor,
    "cache": Cache,
    "imports": Imports,
    "arenas": Arenas,
    "garbage": Garbage,
    "garbage-files": GarbageFiles,
    "late-close": LateClose,
    "janitor": Janitor,
    "shipper": Shipper,
    "log-file": LogFile,
    "sessions": Sessions,
    "upstream": Upstream,
    "helper": Helper,
    "scratch": Scratch,
    "busy": Busy,
    "keep-alive": KeepAlive,
    "recycled": Recycled,
}
