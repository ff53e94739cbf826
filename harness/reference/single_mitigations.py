"""Each mitigation alone, on both mechanisms of the crash."""

from __future__ import annotations

from dataclasses import dataclass

from harness.reference.loads import PILING, SHARING, SLOW_TICKS, STAYING
from harness.reference.profile import (
    ASSERTION,
    BOUNDED,
    CRASHED,
    EXHAUSTED,
    EXHAUSTION,
    EXHAUSTION_CRASH,
    FREED_CRASH,
    INCONCLUSIVE,
    LEAKING,
    LIBZMQ,
    ORIGINAL,
    PANIC,
    SIGNALS,
    STALLED,
    STAYS,
    STOPPED,
    UPSTREAM,
    Profile,
)


@dataclass(frozen=True, slots=True)
class _Effect:
    """What one mitigation does: (expected, why) on upstream and on original."""

    name: str
    upstream: tuple[str, str]
    original: tuple[str, str] = (CRASHED, EXHAUSTION_CRASH)


_EFFECTS = (
    _Effect("stream-registry", (CRASHED, FREED_CRASH)),
    _Effect("circuit-breaker", (CRASHED, f"{FREED_CRASH}, before the fifth failure is counted")),
    _Effect("graceful-degradation", (CRASHED, f"{FREED_CRASH}, later: fewer threads meet")),
    _Effect("deadlines", (CRASHED, f"{FREED_CRASH}: the deadline ends the waiting, not the receive")),
    _Effect("simple-writes", (CRASHED, f"{FREED_CRASH}; until then clients get events")),
    _Effect("pool", (LEAKING, STAYS), (BOUNDED, "every socket is used again: nothing stays")),
    _Effect(
        "serialize",
        (LEAKING, f"{STAYS}; one check at a time, so a silent broker holds up all of them"),
        (CRASHED, f"{EXHAUSTION_CRASH}: a lock per socket is nothing where each check has its own"),
    ),
    _Effect(
        "explicit-close",
        (CRASHED, f"{FREED_CRASH}: it is closed explicitly indeed"),
        (BOUNDED, "every socket is closed after its check: nothing stays"),
    ),
    _Effect("http-fallback", (CRASHED, f"{FREED_CRASH}: ZeroMQ is asked first, by all threads at once")),
    _Effect(
        "isolate",
        (LEAKING, f"the child dies again and again, the service does not; {STAYS}"),
        (
            INCONCLUSIVE,
            "the child's descriptors grow until it exits with EMFILE and is started again; the service lives. Counts "
            "that fall with each child give no verdict",
        ),
    ),
    _Effect(
        "socket-limit",
        (CRASHED, f"{FREED_CRASH}: there was only one socket"),
        (BOUNDED, "64 sockets stay, then every check is refused: bounded, and blind"),
    ),
    _Effect("bounded-history", (CRASHED, FREED_CRASH)),
)


def _on_upstream(effect: _Effect) -> Profile:
    expected, why = effect.upstream
    crashes = expected == CRASHED
    return Profile(
        effect.name,
        f"upstream with {effect.name} alone",
        UPSTREAM,
        (effect.name,),
        "silent",
        expected,
        why,
        signatures=LIBZMQ if crashes else (),
        in_log=ASSERTION if crashes or effect.name == "isolate" else "",
        returncodes=SIGNALS if crashes else STOPPED,
        streams=effect.name == "simple-writes",
        base="upstream",
        load=SHARING if crashes else STAYING,
        times={} if crashes else SLOW_TICKS,
        # Clients that get no event stall, and of each a descriptor stays: a slow machine is sure of the first only.
        also=() if crashes or effect.name == "simple-writes" else (STALLED,),
    )


def _on_original(effect: _Effect) -> Profile:
    expected, why = effect.original
    crashes = expected == CRASHED
    return Profile(
        f"{effect.name}-on-original",
        f"original with {effect.name} alone",
        ORIGINAL,
        (effect.name,),
        "answering",
        expected,
        why,
        signatures=EXHAUSTION if crashes else (),
        in_log=EXHAUSTED if crashes or effect.name == "isolate" else "",
        returncodes=PANIC if crashes else STOPPED,
        base="original",
        load=PILING,
    )


SINGLE_MITIGATIONS: tuple[Profile, ...] = (*map(_on_upstream, _EFFECTS), *map(_on_original, _EFFECTS))
