"""An asyncio service of event streams with one behaviour, by its name. usage: service.py PORT BEHAVIOUR"""

from __future__ import annotations

import asyncio
import collections
import gc
import itertools
import logging
import os
import random
import socket
import sys
import time

PORT, BEHAVIOUR = int(sys.argv[1]), sys.argv[2]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
LIMITED = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull"
KEPT: list[int] = []
TENANTS: dict[int, int] = {}
COUNT = itertools.count()
CAP = 700
SESSIONS: set[asyncio.Task[None]] = set()
RANDOM = random.Random(20)
METRICS: collections.deque[bytes] = collections.deque(maxlen=330)
ADMITTED: collections.deque[float] = collections.deque(maxlen=38)


class Trace:
    """A file and a reference to itself: only a collection of cycles closes the file."""

    def __init__(self) -> None:
        self.file, self.spans = open("/dev/zero", "rb", buffering=0), [self]  # noqa: SIM115


class ExpiringSessions:
    """Sessions of 25 s. As in many caches, it is the next insertion that removes those that have expired."""

    def __init__(self) -> None:
        self.sessions: collections.OrderedDict[int, tuple[float, dict[str, object]]] = (
            collections.OrderedDict()
        )

    def add(self, number: int) -> None:
        now = time.monotonic()
        while self.sessions and next(iter(self.sessions.values()))[0] < now:
            self.sessions.popitem(last=False)
        state: dict[str, object] = {
            "topics": [f"topic {number % 9}"],
            "seen": {number},
            "marks": [[number, 0]],
        }
        self.sessions[number] = (now + 25.0, state)


EXPIRING = ExpiringSessions()


async def collect() -> None:
    """Collect cycles every 18 s, as a service does that has turned the automatic collection off."""
    gc.disable()
    while True:
        await asyncio.sleep(18.0)
        gc.collect()


class Bucket:
    """Tokens for 70 requests a second."""

    def __init__(self) -> None:
        self.tokens, self.filled = 70.0, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.tokens, self.filled = min(70.0, self.tokens + (now - self.filled) * 70.0), now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


BUCKET = Bucket()


def admitted() -> bool:
    """Whether fewer than 38 requests were admitted within the last second."""
    now = time.monotonic()
    if len(ADMITTED) == 38 and now - ADMITTED[0] < 1.0:
        return False
    ADMITTED.append(now)
    return True


async def measure() -> None:
    """Metrics of the last 33 s, 91 kB for each second."""
    while True:
        METRICS.append(os.urandom(4_550).hex().encode())
        await asyncio.sleep(0.1)


async def resumable(number: int) -> None:
    """The state of a stream, kept for a client that may come back within 37 s."""
    session = {"stream": number, "topics": [f"topic {index}" for index in range(6)], "position": [number, 0]}
    await asyncio.sleep(37.0)
    session.clear()


async def publish(outbox: collections.deque[bytes], arrived: asyncio.Event) -> None:
    """30 kB a second into the queue of one client."""
    for number in itertools.count():
        outbox.append(b"id: %d\ndata: " % number + os.urandom(750).hex().encode() + b"\n\n")
        arrived.set()
        await asyncio.sleep(0.05)


async def queued(writer: asyncio.StreamWriter) -> None:
    """Send what is published, at the pace of the reader. Nothing limits the queue, which ends with the stream."""
    outbox: collections.deque[bytes] = collections.deque()
    arrived = asyncio.Event()
    publishing = asyncio.ensure_future(publish(outbox, arrived))
    try:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 24_576)
        writer.transport.set_write_buffer_limits(high=8_192)
        while True:
            await arrived.wait()
            arrived.clear()
            while outbox:
                writer.write(outbox.popleft())
                await writer.drain()
    except OSError:
        return  # the reading side sees it as well
    finally:
        publishing.cancel()


async def ticks(writer: asyncio.StreamWriter) -> None:
    """One event every 0.1 s until the client is gone."""
    number = 0
    while not writer.is_closing():
        writer.write(b"id: %d\ndata: tick\n\n" % number)
        await writer.drain()
        number += 1
        await asyncio.sleep(0.1)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    read, write = os.pipe() if BEHAVIOUR in ("late-7", "reset", "cap-700") else (-1, -1)
    failed = False
    number = next(COUNT)
    tenant = number % 90
    if BEHAVIOUR == "tenants-90" and tenant not in TENANTS:
        TENANTS[tenant] = os.open("/dev/null", os.O_RDONLY)
    try:
        await reader.readuntil(b"\r\n\r\n")
        if BEHAVIOUR == "cap-700" and len(KEPT) > CAP:
            writer.write(FULL)
            await writer.drain()
            return
        if BEHAVIOUR == "limit-70" and not BUCKET.take():
            writer.write(LIMITED)
            await writer.drain()
            return
        if BEHAVIOUR == "limit-38" and not admitted():
            writer.write(BUSY)
            await writer.drain()
            return
        if BEHAVIOUR == "loggers":
            logging.getLogger(f"service.stream.{number}").info("opened")
        if BEHAVIOUR == "expired-25":
            EXPIRING.add(number)
        writer.write(HEAD)
        gone = asyncio.ensure_future(reader.read())
        sending = asyncio.ensure_future(queued(writer) if BEHAVIOUR == "outbox" else ticks(writer))
        done, pending = await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        # Each exception is fetched, else asyncio logs it.
        failed = any({task: task.exception() for task in done}.values())
    except (OSError, asyncio.IncompleteReadError):
        failed = True
    finally:
        writer.close()
        if BEHAVIOUR == "collected-18":
            Trace()
        if BEHAVIOUR == "resumable-37":
            session = asyncio.create_task(resumable(number))
            SESSIONS.add(session)
            session.add_done_callback(SESSIONS.discard)
        if BEHAVIOUR == "lumps-29" and number % 29 == 28:
            KEPT.extend(os.eventfd(0) for _ in range(RANDOM.randint(5, 12)))
        if BEHAVIOUR == "gamma-41" and RANDOM.random() < 1 / 41:
            lump = 1 + int(RANDOM.gammavariate(1.4, 4.0))
            KEPT.extend(os.open("/dev/zero", os.O_RDONLY) for _ in range(lump))
        if BEHAVIOUR == "late-7":
            asyncio.get_running_loop().call_later(7.0, lambda: (os.close(read), os.close(write)))
        elif (BEHAVIOUR == "reset" and failed) or (BEHAVIOUR == "cap-700" and len(KEPT) <= CAP):
            os.close(read)
            KEPT.append(write)
        elif read >= 0:
            os.close(read)
            os.close(write)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, backlog=512)
    jobs = {"ring-33": measure, "collected-18": collect}
    job = asyncio.ensure_future(jobs[BEHAVIOUR]()) if BEHAVIOUR in jobs else None
    async with server:
        await server.serve_forever()
    if job:
        job.cancel()


asyncio.run(main())
