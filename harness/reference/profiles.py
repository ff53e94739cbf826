"""Profiles: named sets of defects and mitigations, what was said of each, and how it must end.

``load`` is what brings a profile to its end within seconds at scaled times (ticks of 250 and 100 ms,
timeouts of 1.5 s): connections per cycle, concurrency, dwell (s), events per stream, cycles, settle (s)
and the seconds the whole may take.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.reference import defects, mitigations

CRASHED, BOUNDED, STALLED = "crashed", "bounded", "stalled"
LIBZMQ = ("zeromq-assertion", "python-sigsegv", "python-abort", "python-fatal", "zeromq-epoll-emfile")
EXHAUSTION = ("emfile", "zeromq-epoll-emfile")


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile. broker: ``answering``, ``silent`` or ``flapping``; expected: the outcome;
    signatures: of which one must stand in the log of a death; streams: whether clients get events."""

    name: str
    summary: str
    said: str
    defects: tuple[str, ...] = ()
    mitigations: tuple[str, ...] = ()
    broker: str = "answering"
    expected: str = BOUNDED
    signatures: tuple[str, ...] = ()
    streams: bool = True
    load: Mapping[str, float] = field(default_factory=dict)


UPSTREAM = ("shared-socket", "abandoned-check", "unseen-disconnect", "no-flush")
SOLUTION_1 = ("stream-registry", "circuit-breaker", "deadlines")
SOLUTION_2 = (*SOLUTION_1, "graceful-degradation")
SOLUTION_3 = (*SOLUTION_2, "simple-writes")
RECOMMENDED = (
    "pool",
    "serialize",
    "explicit-close",
    "http-fallback",
    "isolate",
    "socket-limit",
    "bounded-history",
)

PILING = {
    "connections": 8,
    "concurrency": 8,
    "dwell": 1.0,
    "events": 3,
    "cycles": 12,
    "settle": 0.3,
    "seconds": 15,
}
SHARING = {
    "connections": 16,
    "concurrency": 16,
    "dwell": 4.0,
    "events": 0,
    "cycles": 6,
    "settle": 0.3,
    "seconds": 20,
}
HOLDING = {"connections": 60, "concurrency": 20, "dwell": 2.0, "events": 2, "cycles": 40, "settle": 0.5, "seconds": 40,
           "sensitivity": 0.01}  # fmt: skip

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "original",
            "a DEALER for each check, never closed: sockets pile up until descriptors run out",
            "sockets pile up until the process dies",
            ("socket-per-check",),
            expected=CRASHED,
            signatures=EXHAUSTION,
            load=PILING,
        ),
        Profile(
            "upstream",
            "one DEALER for all threads, replaced under them when a receive times out",
            "not seen by the analysis",
            UPSTREAM,
            streams=False,
            broker="silent",
            expected=CRASHED,
            signatures=LIBZMQ,
            load=SHARING,
        ),
        Profile(
            "solution-1",
            "stream registry, circuit breaker at 5 failures, deadlines of 1 s and 500 ms",
            "still crashed",
            UPSTREAM,
            SOLUTION_1,
            streams=False,
            broker="silent",
            expected=CRASHED,
            signatures=LIBZMQ,
            load=SHARING,
        ),
        Profile(
            "solution-2",
            "the breaker with recovery, and graceful degradation",
            "crashed less often",
            UPSTREAM,
            SOLUTION_2,
            streams=False,
            broker="silent",
            expected=CRASHED,
            signatures=LIBZMQ,
            load=SHARING,
        ),
        Profile(
            "solution-3",
            "plain writes instead of the stream writer",
            "streaming worked, crashes went on",
            UPSTREAM,
            SOLUTION_3,
            broker="silent",
            expected=CRASHED,
            signatures=LIBZMQ,
            load=SHARING,
        ),
        Profile(
            "fixed",
            "every mitigation: pooled and closed sockets, serialized and bounded checks, ZeroMQ set apart",
            "recommended, not done",
            (),
            (*SOLUTION_3, *RECOMMENDED),
            load=HOLDING,
        ),
        Profile(
            "bare", "no defect and no mitigation: a socket per check, closed after it", "–", load=HOLDING
        ),
    )
}
DEFAULT = "fixed"


def named(name: str) -> Profile:
    """The profile of that name. Raises UnknownName naming the nearest ones."""
    from harness.reference.blueprint import UnknownName

    if name not in PROFILES:
        raise UnknownName(f"no profile {name!r}; expected one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _modules(package: Any) -> list[dict[str, str]]:
    found = []
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        loaded = importlib.import_module(f"{package.__name__}.{module}")
        entry = {"name": module.replace("_", "-"), "summary": str(getattr(loaded, "SUMMARY", ""))}
        if hasattr(loaded, "SEEN"):
            entry["seen"] = str(loaded.SEEN)
        found.append(entry)
    return found


def catalogue() -> dict[str, Any]:
    """Everything that ``--describe`` prints."""
    return {
        "profiles": [asdict(profile) for profile in PROFILES.values()],
        "defects": _modules(defects),
        "mitigations": _modules(mitigations),
    }
