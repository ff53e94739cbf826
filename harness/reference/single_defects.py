"""Each defect alone."""

from __future__ import annotations

from typing import Any

from harness.reference.loads import COUNTED, FLAPPING, LASTING, PILING, SHARING, SLOWEST_TICKS, STALLING, Load
from harness.reference.profile import (
    ASSERTION,
    BOUNDED,
    CLOSE_FAILS,
    CRASHED,
    EXHAUSTED,
    EXHAUSTION,
    EXHAUSTION_CRASH,
    FREED_CRASH,
    HANGS,
    KILLED,
    LEAKING,
    LIBZMQ,
    PANIC,
    SIGNALS,
    STALLED,
    STAYS,
    Profile,
)


def _only(name: str, broker: str, expected: str, explanation: str, **more: Any) -> Profile:
    return Profile(
        f"only-{name}", f"{name} and nothing else", (name,), (), broker, expected, explanation, **more
    )


SINGLE_DEFECTS: tuple[Profile, ...] = (
    _only(
        "socket-per-check",
        "answering",
        CRASHED,
        EXHAUSTION_CRASH,
        signatures=EXHAUSTION,
        in_log=EXHAUSTED,
        returncodes=PANIC,
        load=PILING,
    ),
    _only(
        "context-per-check",
        "answering",
        CRASHED,
        "seven descriptors and two threads per check stay; EMFILE, as libzmq's own assertion or as a panic",
        signatures=EXHAUSTION,
        in_log=EXHAUSTED,
        returncodes=(*SIGNALS, *PANIC),
        load=Load(connections=4, concurrency=4, events=2, cycles=12),
    ),
    _only(
        "shared-socket",
        "silent",
        CRASHED,
        FREED_CRASH,
        signatures=LIBZMQ,
        in_log=ASSERTION,
        returncodes=SIGNALS,
        # A tick whose checks have all timed out sends its event, if the process still lives then.
        streams=None,
        load=SHARING,
    ),
    _only(
        "abandoned-check",
        "silent",
        BOUNDED,
        "threads grow for as long as the receive's timeout and fall after it: back at rest",
        # At rest means that the last abandoned receive is over: the timeout of 1.5 s has passed.
        load=Load(
            connections=12, concurrency=12, dwell=2.0, cycles=20, settle=2.0, seconds=60, sensitivity=0.05
        ),
    ),
    _only("unseen-disconnect", "answering", LEAKING, STAYS, load=LASTING, times=SLOWEST_TICKS),
    _only(
        "no-flush",
        "answering",
        STALLED,
        "clients get neither headers nor events; what was held back goes with them",
        streams=False,
        load=SHARING,
    ),
    _only(
        "unbounded-buffer",
        "answering",
        LEAKING,
        "64 KiB for every event that a stalled reader did not take, past the first 0.3 MB",
        load=STALLING,
        times={"dashboard_interval": 0.05, "status_interval": 0.05},
    ),
    _only("unbounded-history", "answering", LEAKING, "four results per event", load=COUNTED),
    _only(
        "linger-forever",
        "answering",
        BOUNDED,
        "bounded while it runs; at SIGTERM it hangs in zmq_ctx_term and has to be killed",
        in_log=HANGS,
        returncodes=KILLED,
        load=PILING,
    ),
    _only(
        "double-close",
        "answering",
        BOUNDED,
        "bounded while it runs; at SIGTERM the second close of a socket fails with ENOTSOCK",
        in_log=CLOSE_FAILS,
        load=PILING,
    ),
    _only(
        "leak-on-error",
        "flapping",
        LEAKING,
        "two descriptors per broker timeout, none per answered check",
        load=FLAPPING,
        times={"timeout": 0.1},
    ),
)
