"""The reference service's defects, each alone, through the same path as any other service."""

from __future__ import annotations

from typing import Any

from harness.core.verdict import Outcome
from tests.sabotage.case import Case, Green, Leak, Red

BASE: dict[str, Any] = {
    "url": ("http://127.0.0.1:{port}/dashboard/sse", "http://127.0.0.1:{port}/system/status/sse"),
    "ready": "http://127.0.0.1:{port}/",
    "with_broker": True,
    # None of these defects releases anything late, and some end the process within a minute.
    "retention": 0.0,
}
FAST = ("--time-scale", "0.01")  # ticks of 50 and 20 ms, timeouts of 0.3 s
# A check is made before each event, also before one that its client no longer sees.
CHECK = ("event", "connection")
# ZeroMQ refuses the 1,024th socket of a context: the leak must be certain before.
FEW = {"connections": 8, "concurrency": 8, "dwell": 1.0}
SLOWER = ("--time-scale", "0.2")  # the last one holds
# A connection whose client has disconnected; its class may change.
LEFT = (
    "",
    "close-wait",
    "rowless-socket",
    "tcp-in",
)
STALLED = {"connections": 60, "concurrency": 12}


def _alone(
    name: str, expected: Leak | Green | Red, load: dict[str, Any] | None = None, *arguments: str
) -> Case:
    return Case("reference", name, expected, {**BASE, **(load or {})}, arguments=(*FAST, *arguments))


REFERENCE: tuple[Case, ...] = (
    _alone(
        "socket-per-check",
        Leak("fds", "eventfd", CHECK, None, beside=("memory", "broker-peers")),
        FEW,
        *SLOWER,
    ),
    _alone(
        "context-per-check",
        Leak("fds", "eventpoll", CHECK, None, beside=("memory", "threads", "mappings", "broker-peers")),
        FEW,
        *SLOWER,
    ),
    _alone(
        "shared-socket",
        Red(Outcome.CRASHED, ("zeromq-assertion", "python-sigsegv", "python-abort", "python-fatal")),
        {"connections": 16, "concurrency": 16, "dwell": 4.0, "events": 0},
    ),
    # The service is idle once the last abandoned receive is over, 1.5 s after its client: fewer cycles a minute.
    _alone("abandoned-check", Green(), {"max_time": 240.0}, "--mitigation", "pool", "--timeout", "1.5"),
    _alone(
        "unseen-disconnect",
        Leak("fds", LEFT, ("connection", "answered-stream"), None, beside=("memory", "tasks", "idle-cpu")),
        {"connections": 60, "concurrency": 20},
        "--mitigation",
        "pool",
    ),
    _alone("no-flush", Red(Outcome.STALLED), {"connections": 16, "concurrency": 16, "max_time": 40.0}),
    _alone(
        "unbounded-buffer",
        Leak("memory", ("heap-bytes", "anonymous", "blocks", "objects"), "slow-reader", None),
        STALLED,
        *("--dashboard-interval", "0.02", "--status-interval", "0.02"),
    ),
    _alone("unbounded-history", Leak("memory", ("objects", "blocks"), CHECK, None)),
    _alone("linger-forever", Green()),
    _alone(
        "leak-on-error",
        # A socket holds one of each; two silent cycles are enough for either.
        Leak("fds", ("eventfd", "tcp-out"), "broker-timeout", None, beside=("memory", "broker-peers")),
        {"connections": 24, "concurrency": 8, "dwell": 1.0},
        *SLOWER,
        *("--timeout", "0.4"),  # a busy machine answers within it: only silence makes a timeout
    ),
)
