"""Rows outside the model of "so much per connection": late releases, pools, caps, slow services, and errors.

Each subject has services of at least two languages. ``max_time`` marks a row that two minutes cannot decide by its
nature.
"""

from __future__ import annotations

from typing import Any

from harness.core.budget import Budget
from tests.sabotage.case import Advised, Case, Green, Leak, Leaks, Required

GREEN = Green()
LONGER: dict[str, Any] = {"max_time": 300.0}
REQUESTS: dict[str, Any] = {"mode": "request"}
LOADED = ("connection", "answered-stream")  # where the planted leak does not distinguish them
BY_STREAM = "answered-stream"
CONNECTED = ("event", "connected-second", "stalled-second", "slow-reader")
ANY_MEMORY = ("", "anonymous", "heap-bytes", "objects", "blocks", "external")
NO_PPROF = ("no-pprof",)
HELD = {"metric": "memory", "kind": ANY_MEMORY, "driver": CONNECTED, "rate": None, "scope": "while-connected"}


def _fd(kind: str, rate: float, driver: str | tuple[str, ...] = LOADED, **more: Any) -> Leak:
    # Where a fifth of the requests is reset early, 1 per connection is 1.25 per answered stream.
    return Leak("fds", kind, driver, rate, **{"within": 0.3 if driver == LOADED else 0.15, **more})


LATE_RELEASE = (
    Case("asyncio", "release-10", GREEN),
    Case("asyncio", "release-60", GREEN),
    Case("asyncio", "spread-release-30", GREEN),
    Case("asyncio", "sweep-30", GREEN),
    Case("asyncio", "sweep-60", GREEN),
    Case("go", "release-10", GREEN),
    Case("go", "release-60", GREEN),
    Case("go", "sweep-30", GREEN),
    Case("go", "sweep-60", GREEN),
    Case("node", "release-10", GREEN),
    Case("node", "sweep-60", GREEN),
    Case("java", "release-10", GREEN),
    Case("asyncio", "expired-25", GREEN),
    Case("asyncio", "expired-60", GREEN),
    Case("go", "expired-40", GREEN),
    Case("node", "expired-10", GREEN),
    Case("asyncio", "release-10+pipe@connection/10", _fd("pipe", 0.2)),
    Case("asyncio", "release-60+pipe@connection", _fd("pipe", 2.0)),
    Case("asyncio", "sweep-30+eventfd@connection/10", _fd("eventfd", 0.1)),
    Case("go", "release-10+file@connection/5", _fd("file", 0.2)),
    Case("asyncio", "expired-30+pipe@connection/5", _fd("pipe", 0.4)),
    Case("go", "sweep-60+goroutine@connection", Leak("tasks", "goroutine", LOADED)),
    Case("node", "sweep-30+socket@connection", _fd("tcp-out", 1.0, beside=("memory", "tasks"))),
)

POOLS = (
    Case("asyncio", "bursts-10-200", GREEN, LONGER),
    Case("go", "bursts-5-100", GREEN, LONGER),
    Case("node", "bursts-25-200", GREEN, LONGER),
    Case("java", "healthy", GREEN),
    Case("java", "bursts-8", GREEN, LONGER),
    Case("asyncio", "tenants-100", GREEN),
    Case("asyncio", "zipf-tenants-150", GREEN),
    Case("go", "tenants-100", GREEN),
    Case("node", "tenants-40", GREEN),
    # A sawtooth of 1,000 hides a leak of 1 per 1,000 for a quarter of an hour.
    Case("asyncio", "janitor-by-count-1000", Advised("--max-time")),
    Case("asyncio", "janitor-by-count-1000", GREEN, {"sensitivity": 0.02}, variant="1 per 50 asked"),
    # A JVM counts each thread too: one thing, found twice.
    Case("java", "thread", Leak("threads", "", LOADED, beside=("memory", "mappings", "tasks"))),
)

# 94 MB an hour, of which the budget allows half.
HOURLY: dict[str, Any] = {"budget": Budget(require_hour={"memory": 47e6})}

# 26 kB a second: 3 MB in the default two minutes, less than healthy servers take while they warm up.
OVER_TIME = (
    Case("asyncio", "published", Leak("memory", ("heap-bytes", "blocks", "objects"), "time", None)),
    Case("go", "published", Required("time", "--max-time"), {**LONGER, **HOURLY}, arguments=NO_PPROF,
         variant="without pprof"),
    Case("node", "published", Leak("memory", ANY_MEMORY, "time", None, beside=("memory", "tasks")), LONGER),
    Case("asyncio", "eventfd@time/20+pipe@connection",
         Leaks((_fd("pipe", 2.0), Leak("fds", "eventfd", "time", None)))),
    Case("go", "file@time/20+goroutine@connection",
         Leaks((Leak("tasks", "goroutine", LOADED), Leak("fds", "file", "time", None)))),
)  # fmt: skip

EXPOSURE = (
    Case("asyncio", "task@answered", Leak("tasks", "asyncio-task", BY_STREAM, within=0.02)),
    Case("thread", "file@answered", _fd("file", 1.0, BY_STREAM, within=0.02)),
    Case("go", "goroutine@answered", Leak("tasks", "goroutine", BY_STREAM, within=0.02)),
    Case("node", "file@answered", _fd("file", 1.0, BY_STREAM, within=0.02)),
    Case(
        "asyncio",
        "rate-limited+eventfd@answered",
        _fd("eventfd", 1.0, BY_STREAM, text=("--source-addresses",)),
    ),
    Case("go", "rate-limited+file@answered", _fd("file", 1.0, BY_STREAM, text=("--source-addresses",))),
)

FEW_FILES: dict[str, Any] = {"nofile": 800}
POOL_KEPT = Leak(("threads", "fds", "tasks"), ("", "close-wait", "rowless-socket", "tcp-in", "goroutine"), LOADED, None,
                 beside=("memory", "mappings", "threads", "fds", "tasks"))  # fmt: skip
CAPS = (
    Case("asyncio", "capped-500", _fd("device", 1.0, text=("500",))),
    Case("go", "capped-500", _fd("file", 1.0, text=("500",))),
    Case("node", "capped-500", _fd("file", 1.0, text=("500",))),
    Case("thread", "capped-requests-500", _fd("device", 1.0, text=("500",)), REQUESTS),
    Case("go", "capped-requests-500", _fd("file", 1.0, text=("500",)), REQUESTS),
    Case("asyncio", "lent-150", _fd("device", 1.0, text=("no stream got an event any more",))),
    Case("go", "lent-150", _fd("file", 1.0, text=("no stream got an event any more",))),
    Case("thread", "exhausted-200", POOL_KEPT),
    Case("go", "exhausted-200", POOL_KEPT),
    Case("asyncio", "pipe@connection", _fd("pipe", 2.0), FEW_FILES, variant="800 files"),
    Case("go", "file@connection", _fd("file", 1.0), FEW_FILES, variant="800 files"),
)

CAUSES = (
    Case("go", "ticker@connection", Leak(("idle-cpu", "memory"), ("", "anonymous"), LOADED, None,
                                         beside=("memory", "idle-cpu")), arguments=NO_PPROF, variant="without pprof"),
    Case("node", "session", Leak("memory", ("objects", "heap-bytes"), LOADED, None,
                                 beside=("mappings", "idle-cpu"), first=True)),
    Case("thread", "poller@connection", Leak("threads", "", LOADED, 1.0, first=True,
                                             beside=("memory", "mappings", "idle-cpu"))),
)  # fmt: skip

WHILE_CONNECTED = (
    Case("asyncio", "held", Leak(**HELD)),
    Case("go", "held", Leak(**HELD)),
    Case("node", "held", Leak(**HELD)),
    # Pages of a Go heap go back only after its next collection.
    Case("go", "held", Leak(**HELD), arguments=NO_PPROF, variant="without pprof"),
    Case("node", "held-buffers", Leak(**{**HELD, "kind": (*ANY_MEMORY, "external-bytes")})),
    Case("asyncio", "unbounded", Leak(**HELD)),
    Case("node", "unbounded", Leak(**HELD)),
    Case("asyncio", "bounded", GREEN),
    Case("node", "bounded", GREEN),
)

SLOW = (
    Case("thread", "slow-tick-5", GREEN),
    Case("go", "slow-tick-5", GREEN),
    Case("thread", "slow-tick-30", Advised("--settle")),
    Case("go", "slow-tick-30", Advised("--settle")),
)


def _expecting(status: str) -> dict[str, Any]:
    return {"expect": (status,), **REQUESTS}


ERRORS = (
    Case("asyncio", "unhealthy", _fd("eventfd", 1.0), _expecting("503")),
    Case("go", "unauthorized", _fd("file", 1.0), _expecting("401")),
    Case("node", "unhealthy", _fd("file", 1.0), _expecting("503")),
    Case("java", "unhealthy", _fd("file", 1.0), _expecting("503")),
    Case("asyncio", "refusing", GREEN, _expecting("503")),
    Case("go", "refusing", GREEN, _expecting("503")),
)

SUBJECTS: dict[str, tuple[Case, ...]] = {
    "late release": LATE_RELEASE,
    "pools": POOLS,
    "growth over time": OVER_TIME,
    "exposure": EXPOSURE,
    "caps": CAPS,
    "causes": CAUSES,
    "while connected": WHILE_CONNECTED,
    "slow services": SLOW,
    "errors": ERRORS,
}

BEYOND: tuple[Case, ...] = tuple(case for subject in SUBJECTS.values() for case in subject)
