"""Named sets of defects and mitigations, and how each of them is expected to end.

The expectations are measured: ``harness reproduce --profile NAME`` runs any of them again. ``original`` and
``upstream`` are the two mechanisms of the crash; each mitigation stands alone on both of them (``alone``), so that
its actual effect is measured separately from the expected one; each defect stands alone too (``single``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from harness.reference.loads import HOLDING, LASTING, PILING, SHARING, SLOW_TICKS
from harness.reference.profile import (
    ASSERTION,
    BOUNDED,
    CRASHED,
    EXHAUSTED,
    EXHAUSTION,
    EXHAUSTION_CRASH,
    FREED_CRASH,
    LEAKING,
    LIBZMQ,
    ORIGINAL,
    PANIC,
    SIGNALS,
    STAYS,
    UPSTREAM,
    Profile,
)
from harness.reference.single_defects import SINGLE_DEFECTS
from harness.reference.single_mitigations import SINGLE_MITIGATIONS

DEFAULT = "fixed"

SOLUTION_1 = ("stream-registry", "circuit-breaker", "deadlines")
SOLUTION_2 = (*SOLUTION_1, "graceful-degradation")
SOLUTION_3 = (*SOLUTION_2, "simple-writes")
EVERY = (
    *SOLUTION_3,
    "pool",
    "serialize",
    "explicit-close",
    "http-fallback",
    "isolate",
    "socket-limit",
    "bounded-history",
    "shared-checks",
)


class UnknownProfile(ValueError):
    """No profile of that name."""


def _shares(
    name: str, summary: str, claim: str, mitigations: tuple[str, ...], explanation: str, streams: bool = False
) -> Profile:
    """A profile that crashes by the shared socket."""
    return Profile(
        name,
        summary,
        UPSTREAM,
        mitigations,
        "silent",
        CRASHED,
        explanation,
        claim,
        signatures=LIBZMQ,
        in_log=ASSERTION,
        returncodes=SIGNALS,
        streams=streams,
        load=SHARING,
    )


_STORY = (
    Profile(
        "original",
        "a DEALER for each check, never closed: sockets pile up until descriptors run out",
        ORIGINAL,
        (),
        "answering",
        CRASHED,
        EXHAUSTION_CRASH,
        "sockets pile up until the process dies",
        signatures=EXHAUSTION,
        in_log=EXHAUSTED,
        returncodes=PANIC,
        load=PILING,
    ),
    _shares(
        "upstream",
        "one DEALER for all threads, replaced under them when a receive times out",
        "not seen by the analysis",
        (),
        f"{FREED_CRASH}; as long after the first request as the receive's timeout, 30 s as published",
    ),
    _shares(
        "solution-1",
        "stream registry, circuit breaker at 5 failures, deadlines of 1 s and 500 ms",
        "still crashed",
        SOLUTION_1,
        "as upstream, and as soon: the breaker counts failures that come with the timeouts that kill",
    ),
    _shares(
        "solution-2",
        "the breaker with recovery, and graceful degradation",
        "crashed less often",
        SOLUTION_2,
        "as upstream, at least twice as late: one check outlives its deadline, and the next one, after the "
        "recovery time, meets it on the socket",
    ),
    _shares(
        "solution-3",
        "plain writes instead of the stream writer",
        "streaming worked, crashes went on",
        SOLUTION_3,
        "as solution-2, while streaming",
        streams=True,
    ),
    Profile(
        "fixed",
        "every mitigation: pooled and closed sockets, serialized and bounded checks, ZeroMQ set apart",
        (),
        EVERY,
        "answering",
        BOUNDED,
        "nothing stays, whether the broker answers or not",
        "recommended, not done",
        load=HOLDING,
    ),
    Profile(
        "bare",
        "no defect and no mitigation: a socket per check, closed after it",
        (),
        (),
        "answering",
        BOUNDED,
        "nothing stays",
        load=HOLDING,
    ),
    Profile(
        "recommended",
        "upstream with every mitigation: its clients that leave are still not seen",
        UPSTREAM,
        EVERY,
        "silent",
        LEAKING,
        f"{STAYS}: no recommendation speaks of clients that leave",
        load=LASTING,
        times=SLOW_TICKS,
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (*_STORY, *SINGLE_MITIGATIONS, *SINGLE_DEFECTS)}
)


def named(name: str) -> Profile:
    """The profile of that name. Raises UnknownProfile that lists the names there are."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfile(f"unknown profile {name!r}: expected one of {', '.join(PROFILES)}") from None
