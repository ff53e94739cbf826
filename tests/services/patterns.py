"""What services do over time: late releases, sweeps, pools that follow bursts, state per tenant, caps and slow ticks.

A name ends in its figures: ``release-10`` (seconds), ``sweep-30`` (seconds), ``bursts-10-200`` (descriptors a burst, at
most), ``tenants-100``, ``capped-500``, ``slow-tick-5`` (seconds).
"""

from __future__ import annotations

import collections
import os
import random
import threading
import time
from collections.abc import Callable

from behaviours import LARGE, Behaviour, Refused
from things import KEPT

PUBLISHED = 5200  # bytes retained for each published event
PUBLISH_EVERY = 4  # ticks: five events a second
HELD = 10_000  # bytes retained for each event of an open stream
BURST = 0.5  # seconds without a request, after which the next one begins a burst


class Release(Behaviour):
    """Closes the resources of a connection N seconds after its client has disconnected."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.waiting: collections.deque[tuple[float, int]] = collections.deque()
        self.lock = threading.Lock()

    def left(self, way: str) -> None:
        with self.lock:
            self.waiting.append((time.monotonic() + self.seconds, os.eventfd(0)))

    def tick(self) -> None:
        with self.lock:
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                os.close(self.waiting.popleft()[1])


class SpreadRelease(Release):
    """The same after anything between one second and N."""

    def left(self, way: str) -> None:
        with self.lock:
            self.waiting.append((time.monotonic() + random.uniform(1, self.seconds), os.eventfd(0)))

    def tick(self) -> None:
        now = time.monotonic()
        with self.lock:
            due = [one for one in self.waiting if one[0] <= now]
            self.waiting = collections.deque(one for one in self.waiting if one[0] > now)
        for _, descriptor in due:
            os.close(descriptor)


class Expired(Release):
    """The same, but without a timer: the next request closes what is old enough, as in many caches."""

    def tick(self) -> None:
        pass

    def opened(self) -> None:
        super().tick()


class Sweep(Behaviour):
    """A sweep every N seconds closes the resources of the clients that have disconnected."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.waiting: list[int] = []
        self.lock = threading.Lock()
        self.next = time.monotonic() + seconds

    def left(self, way: str) -> None:
        with self.lock:
            self.waiting.append(os.eventfd(0))

    def tick(self) -> None:
        if time.monotonic() < self.next:
            return
        self.next += self.seconds
        with self.lock:
            waiting, self.waiting = self.waiting, []
        for descriptor in waiting:
            os.close(descriptor)


class Bursts(Behaviour):
    """A pool that gains N with each burst of clients, whatever its width, up to a limit."""

    def __init__(self, gain: int, most: int) -> None:
        self.gain, self.most = gain, most
        self.pool: list[int] = []
        self.lock = threading.Lock()
        self.last = 0.0

    def opened(self) -> None:
        with self.lock:
            now, before = time.monotonic(), self.last
            self.last = now
            if now - before > BURST:
                more = min(self.gain, self.most - len(self.pool))
                self.pool.extend(os.eventfd(0) for _ in range(more))


class Tenants(Behaviour):
    """A descriptor for each of N tenants that has ever been served; tenants come at random."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.state: dict[int, int] = {}
        self.lock = threading.Lock()

    def tenant(self) -> int:
        return random.randrange(self.count)

    def opened(self) -> None:
        tenant = self.tenant()
        with self.lock:
            if tenant not in self.state:
                self.state[tenant] = os.eventfd(0)


class ZipfTenants(Tenants):
    """The same; the k-th tenant comes 1/k times as often as the first."""

    def tenant(self) -> int:
        return random.choices(range(self.count), [1 / (rank + 1) for rank in range(self.count)])[0]


class JanitorByCount(Behaviour):
    """Every N requests, what those before retained is closed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.kept: list[int] = []
        self.lock = threading.Lock()

    def opened(self) -> None:
        with self.lock:
            self.kept.append(os.eventfd(0))
            done, self.kept = (self.kept, []) if len(self.kept) >= self.count else ([], self.kept)
        for descriptor in done:
            os.close(descriptor)


class Published(Behaviour):
    """Retains every published event, five a second, with clients or without."""

    count = 0

    def tick(self) -> None:
        self.count += 1
        if self.count % PUBLISH_EVERY == 0:
            KEPT.append(bytearray(PUBLISHED))


class Capped(Behaviour):
    """Retains a descriptor per request up to N, then answers 500 for good. plain: a response instead of a stream."""

    def __init__(self, most: int, *, plain: bool = False) -> None:
        self.most, self.plain = most, plain
        self.count = 0
        self.lock = threading.Lock()

    def opened(self) -> None:
        with self.lock:
            if self.count >= self.most:
                raise Refused(500)
            self.count += 1
            KEPT.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))


class Lent(Behaviour):
    """A pool of N descriptors, of which each stream takes one after the head of its response, for good. The streams
    that find none wait for ever."""

    def __init__(self, most: int) -> None:
        self.most = most

    def lent(self) -> bool:
        if len(KEPT) >= self.most:
            return False
        KEPT.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        return True


class Exhausted(Behaviour):
    """A pool of N threads; a stream retains its thread and its socket after its client has disconnected."""

    forgets = True

    def __init__(self, workers: int) -> None:
        self.workers = workers


class Held(Behaviour):
    """Retains 10 kB for each event until the stream ends."""

    def streamed(self, own: list[object]) -> None:
        own.append(bytearray(HELD))


class Unbounded(Behaviour):
    """Buffers without limit for a reader that does not read, until it disconnects."""

    event = LARGE
    overflow = "buffer"


class Bounded(Unbounded):
    """Buffers up to 64 KiB for each reader, and drops events beyond that."""

    overflow = "drop"


class SlowTick(Behaviour):
    """Sends an event every N seconds, and notices a departure only when a write fails."""

    notices = "write"

    def __init__(self, seconds: int) -> None:
        self.every = float(seconds)


class Unhealthy(Behaviour):
    """Answers 503 while its backend is down, and retains the connection of each check."""

    status = 503

    def opened(self) -> None:
        KEPT.append(os.eventfd(0))


class Unauthorized(Unhealthy):
    """Answers 401 to wrong credentials, and retains something for each attempt."""

    status = 401


class Refusing(Behaviour):
    """Answers 503 while its backend is down, and releases everything."""

    status = 503


class RateLimited(Behaviour):
    """Answers every third request with 429."""

    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def opened(self) -> None:
        with self.lock:
            self.count += 1
            refused = self.count % 3 == 0
        if refused:
            raise Refused(429)


def _capped_requests(most: int) -> Behaviour:
    return Capped(most, plain=True)


PATTERNS: dict[str, Callable[..., Behaviour]] = {
    "release": Release,
    "spread-release": SpreadRelease,
    "expired": Expired,
    "sweep": Sweep,
    "bursts": Bursts,
    "tenants": Tenants,
    "zipf-tenants": ZipfTenants,
    "janitor-by-count": JanitorByCount,
    "published": Published,
    "capped": Capped,
    "capped-requests": _capped_requests,
    "lent": Lent,
    "exhausted": Exhausted,
    "held": Held,
    "unbounded": Unbounded,
    "bounded": Bounded,
    "slow-tick": SlowTick,
    "unhealthy": Unhealthy,
    "unauthorized": Unauthorized,
    "refusing": Refusing,
    "rate-limited": RateLimited,
}
