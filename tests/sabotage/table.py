"""The table: services with one planted leak or one benign behaviour, and the verdict that a guard must give of each."""

from __future__ import annotations

from typing import Any

from harness.core.budget import Budget
from tests.sabotage.case import Case, Green, Leak

GREEN = Green()
SLOW: dict[str, Any] = {"events": 0, "dwell": 1.0}
CHILD = ("memory", "fds", "threads", "mappings")  # what a process has of its own
REQUESTS: dict[str, Any] = {"mode": "request", "keep_alive": True, "events": 3}


def _fd(
    kind: str | tuple[str, ...], driver: str = "connection", rate: float | None = 1.0, **more: Any
) -> Leak:
    return Leak("fds", kind, driver, rate, **more)


def _polling(rate: float) -> Leak:
    return Leak("threads", "", "connection", rate, beside=("memory", "mappings", "idle-cpu"))


DESCRIPTORS = tuple(
    Case("asyncio", f"{thing}@connection", _fd(kind, rate=rate))
    for thing, kind, rate in (
        ("tcp-listen", "tcp-listen", 1.0),
        ("rowless-socket", "rowless-socket", 1.0),
        ("udp", "udp", 1.0),
        ("unix", "unix", 1.0),
        ("netlink", "netlink", 1.0),
        ("eventpoll", "eventpoll", 1.0),
        ("timerfd", "timerfd", 1.0),
        ("signalfd", "signalfd", 1.0),
        ("pidfd", "pidfd", 1.0),
        ("memfd", "memfd", 1.0),
        ("pipe", "pipe", 2.0),
        ("io_uring", "io_uring", 1.0),
        ("file", "file", 1.0),
        ("directory", "directory", 1.0),
        ("device", "device", 1.0),
    )
)

PYTHON_LEAKS = (
    Case("asyncio", "eventfd@connection", _fd("eventfd")),
    Case("asyncio", "eventfd@connection/100", _fd("eventfd", rate=0.01, within=0.4)),
    Case("asyncio", "eventfd@event", _fd("eventfd", "event")),
    Case("asyncio", "eventfd@time/2", _fd("eventfd", "time", 10.0)),
    Case("asyncio", "eventfd@abort", _fd("eventfd", "abort")),
    Case("asyncio", "eventfd@early", _fd("eventfd", "abort")),
    Case("asyncio", "eventfd@slow", _fd("eventfd", "slow-reader")),
    Case("asyncio", "eventfd@timeout", _fd("eventfd", "broker-timeout"), {"with_broker": True}),
    # Not a quick one: tests/edges/test_tutorial.py finds the same leak with a whole guard.
    Case("asyncio", "task@connection", Leak("tasks", "asyncio-task", "connection")),
    Case("asyncio", "timer@connection", Leak("idle-cpu", "", "connection", None)),
    Case("asyncio", "object@connection", Leak("memory", "objects", "connection")),
    # An object is a block of the allocator's: whichever is certain first ends the guard.
    Case("asyncio", "object@connection/100", Leak("memory", ("objects", "blocks"), "connection", 0.01, 0.4)),
    Case("asyncio", "bytes@event", Leak("memory", "heap-bytes", "event", 2090.0)),
    Case("asyncio", "object@early", Leak("memory", "objects", "abort")),
    Case("asyncio", "malloc@connection", Leak("memory", "heap-bytes", "connection", 4112.0)),
    # A user may have 128 of them (inotify(7), max_user_instances): fewer than a pool of 20 streams could hold.
    Case("asyncio", "inotify@connection/10", _fd("inotify", rate=0.1), {"concurrency": 4, "connections": 40}),
    Case("asyncio", "mapping@connection", Leak("mappings", "", "connection", beside=("memory", "fds"))),
    Case("asyncio", "zombie@connection/5", Leak("processes", "zombie", "connection", 0.2)),
    Case("thread", "process@connection/10", Leak("processes", "", "connection", 0.1, beside=CHILD)),
    Case("thread", "tcp-out@connection", _fd("tcp-out")),
    Case("thread", "deleted-file@connection", _fd("deleted-file")),
    Case("thread", "thread@connection", Leak("threads", "", "connection", beside=("memory", "mappings")), quick=True),
    Case("thread", "thread@event", Leak("threads", "", "event", beside=("memory", "mappings"))),
    Case("thread", "poller@connection/3", _polling(1 / 3)),
    Case("thread", "tcp-in@connection", _fd("tcp-in")),
    Case("thread", "deaf", _fd(("", "close-wait", "rowless-socket"))),
    Case("asyncio", "deaf", _fd("close-wait"), {"disconnect": "fin"}),
    Case("thread", "file@early", _fd("file", "abort")),
    Case("thread", "bytes@connection", Leak("memory", "blocks", "connection", 2.0, 0.2)),
    Case("gevent", "file@connection", _fd("file")),
    Case("gevent", "greenlet@connection", Leak("tasks", "greenlet", "connection")),
    Case("gevent", "pipe@abort", _fd("pipe", "abort", 2.0)),
    Case("gevent", "object@event", Leak("memory", "objects", "event")),
    Case("prefork", "eventfd@connection", _fd("eventfd")),
    Case("prefork", "object@connection", Leak("memory", "objects", "connection")),
    Case("prefork", "memfd@time/5", _fd("memfd", "time", 8.0)),
)  # fmt: skip

OTHER_LEAKS = (
    Case("go", "goroutine@connection", Leak("tasks", "goroutine", "connection"), quick=True),
    Case("go", "goroutine@early", Leak("tasks", "goroutine", "abort")),
    Case("go", "ticker@connection", Leak("tasks", "goroutine", "connection", beside=("memory", "idle-cpu"))),
    Case("go", "file@connection", _fd("file")),
    Case("go", "body@connection", _fd("tcp-out", rate=None, beside=("memory", "tasks"))),
    Case("go", "slice@connection", Leak("memory", ("objects", "heap-bytes"), "connection", None)),
    Case("go", "slice@event", Leak("memory", ("objects", "heap-bytes"), "event", None)),
    Case("go", "mapping@connection", Leak("mappings", "", "connection")),
    Case("go", "goroutine@time", Leak("tasks", "goroutine", "time", 20.0)),
    Case("node", "timer@connection", Leak("tasks", "handle", "connection", beside=("memory", "idle-cpu"))),
    Case("node", "object@connection", Leak("memory", ("objects", "heap-bytes"), "connection", None)),
    Case("node", "buffer@event", Leak("memory", ("objects", "heap-bytes", "anonymous"), "event", None)),
    Case("node", "transcript@connection", Leak("memory", "external-bytes", "connection", 4096.0)),
    Case("node", "file@connection", _fd("file")),
    Case("node", "socket@early", _fd("tcp-out", "abort", beside=("memory", "tasks"))),
    Case("node", "listener@connection", Leak("memory", ("objects", "heap-bytes"), "connection", None)),
)

BENIGN = (
    Case("asyncio", "healthy", GREEN, quick=True),
    Case("asyncio", "pool", GREEN),
    # It takes a cycle for each of its 24; on a busy machine two minutes have too few.
    Case("asyncio", "slow-pool", GREEN, {"max_time": 240.0}),
    Case("asyncio", "steady-pool", GREEN, {"budget": Budget(pools={"fds": 24.0})}),
    Case("asyncio", "executor", GREEN),
    Case("asyncio", "cache", GREEN),
    Case("asyncio", "imports", GREEN),
    Case("asyncio", "garbage", GREEN),
    Case("asyncio", "garbage-files", GREEN),
    Case("asyncio", "late-close", GREEN),
    Case("asyncio", "janitor", GREEN),
    Case("asyncio", "shipper", GREEN),
    Case("asyncio", "log-file", GREEN),
    Case("asyncio", "sessions", GREEN),
    Case("asyncio", "busy", GREEN),
    Case("asyncio", "helper", GREEN),
    Case("asyncio", "keep-alive", GREEN, REQUESTS),
    Case("thread", "healthy", GREEN),
    Case("thread", "arenas", GREEN),
    Case("thread", "upstream", GREEN),
    Case("thread", "scratch", GREEN),
    Case("gevent", "healthy", GREEN),
    Case("gevent", "cache", GREEN),
    Case("prefork", "healthy", GREEN),
    Case("prefork", "recycled", GREEN),
    Case("go", "healthy", GREEN),
    Case("go", "pool", GREEN),
    Case("go", "cache", GREEN),
    Case("go", "garbage", GREEN),
    Case("go", "workers", GREEN),
    Case("node", "healthy", GREEN),
    Case("node", "cache", GREEN),
    Case("node", "garbage", GREEN),
    Case("node", "pool", GREEN),
    Case("node", "lookup", GREEN),
    Case("node", "debounce", GREEN),
)

TABLE: tuple[Case, ...] = (*PYTHON_LEAKS, *DESCRIPTORS, *OTHER_LEAKS, *BENIGN)
