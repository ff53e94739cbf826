"""Named sets of defects and mitigations, and how each of them is expected to end.

Measured, not assumed: docs/profiles.md has the runs behind the table. ``original`` and ``upstream`` are the
two mechanisms of the crash; each mitigation stands alone on both of them, so that what it does can be
told from what was hoped of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from harness.reference.loads import GENTLE, HELD, MANY, STALLED, Load

SCHEMA_VERSION = 1
DEFAULT = "fixed"

# Whoever looks for the end in a log searches for these (Python regular expressions).
ASSERTION = r"Assertion failed: .*\(src/\w+\.cpp:\d+\)|Fatal Python error: \w+|Segmentation fault"
EXHAUSTED = r"ZMQError: Too many open files|Too many open files \(src/\w+\.cpp:\d+\)"
HANGS = r"Context termination timeout"

SIGNALS = (-6, -11, -8)
PANIC = (2,)
STOPPED = (0,)
KILLED = (-9,)


class UnknownProfile(ValueError):
    """No profile of that name."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One row.

    broker: what the broker must do: ``answering``, ``silent`` or ``flapping``. expected: ``crashed``,
    ``bounded``, ``leaking`` or ``stalled``; the worst of what is true, in the order crashed, leaking,
    stalled. expected_signature: regular expression for the log; empty: none. returncodes: of the process
    at its end, negative for a signal. death: by what it dies, or what stays behind, or why nothing does.
    arguments: for the service's command line. base: the mechanism a mitigation is tried on.
    """

    name: str
    summary: str
    defects: tuple[str, ...]
    mitigations: tuple[str, ...]
    broker: str
    expected: str
    death: str
    expected_signature: str = ""
    returncodes: tuple[int, ...] = STOPPED
    also_stalled: bool = False
    base: str = ""
    load: Load = field(default_factory=Load)
    arguments: tuple[str, ...] = ("--time-scale", "0.05")


ORIGINAL = ("socket-per-check",)
UPSTREAM = ("shared-socket", "abandoned-check", "unseen-disconnect", "no-flush")
SOLUTION_1 = ("stream-registry", "circuit-breaker", "deadlines")
SOLUTION_2 = (*SOLUTION_1, "graceful-degradation")
SOLUTION_3 = (*SOLUTION_2, "simple-writes")
EVERY = (
    "stream-registry",
    "circuit-breaker",
    "graceful-degradation",
    "deadlines",
    "simple-writes",
    "pool",
    "serialize",
    "explicit-close",
    "http-fallback",
    "isolate",
    "socket-limit",
    "bounded-history",
)

_EXHAUSTION = "two descriptors per check stay open until the process has 1,024: EMFILE, a panic, status 2"
_FREED = "the first receive that times out closes the socket under the other threads: libzmq aborts"
_STAYS = "no crash; of each client that left the descriptor and the ticking handler stay"


def _crashes(name: str, summary: str, mitigations: tuple[str, ...], death: str, **more: Any) -> Profile:
    """A profile that dies by the shared socket."""
    return Profile(
        name,
        summary,
        more.pop("defects", UPSTREAM),
        mitigations,
        "silent",
        "crashed",
        death,
        ASSERTION,
        SIGNALS,
        load=HELD,
        **more,
    )


_MAIN = (
    Profile(
        "original",
        "as the analysis describes: a DEALER per check, never closed",
        ORIGINAL,
        (),
        "answering",
        "crashed",
        _EXHAUSTION,
        EXHAUSTED,
        PANIC,
        load=GENTLE,
    ),
    _crashes(
        "upstream",
        "as the source does: one DEALER shared without a lock, reconnected under the others",
        (),
        f"{_FREED}; as long after the first request as the receive's timeout is, 30 s as published",
    ),
    _crashes(
        "solution-1",
        "upstream with stream registry, circuit breaker and deadlines",
        SOLUTION_1,
        "as upstream, and as soon: the breaker counts failures that come with the very timeouts that kill",
    ),
    _crashes(
        "solution-2",
        "solution-1 with graceful degradation: few checks get through until the broker answers",
        SOLUTION_2,
        "as upstream but at least twice as late: one check at a time outlives its deadline, and the next "
        "one meets it on the socket",
    ),
    _crashes(
        "solution-3",
        "solution-2 with plain writes: clients get their events",
        SOLUTION_3,
        "as solution-2, while streaming",
    ),
    Profile(
        "fixed",
        "no defect, and every mitigation",
        (),
        EVERY,
        "answering",
        "bounded",
        "nothing stays, whether the broker answers or not",
        load=MANY,
    ),
    Profile(
        "bare",
        "no defect and no mitigation: the healthy twin of every single defect",
        (),
        (),
        "answering",
        "bounded",
        "nothing stays",
        load=MANY,
    ),
    Profile(
        "recommended",
        "upstream with every mitigation, its other defects left in",
        UPSTREAM,
        EVERY,
        "silent",
        "leaking",
        f"{_STAYS}: no recommendation speaks of clients that leave",
        load=HELD,
    ),
)

# Each mitigation alone on upstream: (what happens, expected). On original: the same.
_ALONE: Mapping[str, tuple[str, str, str, str]] = {
    "stream-registry": (_FREED, "crashed", _EXHAUSTION, "crashed"),
    "circuit-breaker": (f"{_FREED}, before the fifth failure is counted", "crashed", _EXHAUSTION, "crashed"),
    "graceful-degradation": (f"{_FREED}, later: fewer threads meet", "crashed", _EXHAUSTION, "crashed"),
    "deadlines": (
        f"{_FREED}: the deadline abandons the check, not the receive",
        "crashed",
        _EXHAUSTION,
        "crashed",
    ),
    "simple-writes": (f"{_FREED}; until then clients get events", "crashed", _EXHAUSTION, "crashed"),
    "pool": (_STAYS, "leaking", "every socket is used again: nothing stays", "bounded"),
    "serialize": (
        f"{_STAYS}; one check at a time, so a silent broker stalls all of them",
        "leaking",
        f"{_EXHAUSTION}: a lock per socket changes nothing where each check has its own",
        "crashed",
    ),
    "explicit-close": (f"{_FREED}: it is closed explicitly indeed", "crashed", "nothing stays", "bounded"),
    "http-fallback": (
        f"{_FREED}: ZeroMQ is asked first, by all threads at once",
        "crashed",
        _EXHAUSTION,
        "crashed",
    ),
    "isolate": (
        f"the child dies again and again, the service does not; {_STAYS}",
        "leaking",
        "the child's descriptors grow until it dies of EMFILE and begins again; the service lives",
        "leaking",
    ),
    "socket-limit": (
        f"{_FREED}: there was only one socket",
        "crashed",
        "64 sockets stay, then every check is refused: bounded, and blind",
        "bounded",
    ),
    "bounded-history": (_FREED, "crashed", _EXHAUSTION, "crashed"),
}

# What the log shows of a child that dies while the service lives.
_CHILD = {"upstream": ASSERTION, "original": EXHAUSTED}


def _alone(base: str) -> list[Profile]:
    defects, broker = (UPSTREAM, "silent") if base == "upstream" else (ORIGINAL, "answering")
    signature, codes = (ASSERTION, SIGNALS) if base == "upstream" else (EXHAUSTED, PANIC)
    rows = []
    for name, (on_upstream, expected_upstream, on_original, expected_original) in _ALONE.items():
        death, expected = (
            (on_upstream, expected_upstream) if base == "upstream" else (on_original, expected_original)
        )
        crashes = expected == "crashed"
        rows.append(
            Profile(
                name if base == "upstream" else f"{name}-on-original",
                f"{base} with {name} alone",
                defects,
                (name,),
                broker,
                expected,
                death,
                signature if crashes else _CHILD[base] if name == "isolate" else "",
                codes if crashes else STOPPED,
                also_stalled=base == "upstream" and not crashes,
                base=base,
                load=HELD if base == "upstream" else GENTLE,
            )
        )
    return rows


def _only(name: str, broker: str, expected: str, death: str, **more: Any) -> Profile:
    return Profile(f"only-{name}", f"{name} and nothing else", (name,), (), broker, expected, death, **more)


_ONLY = (
    _only(
        "socket-per-check",
        "answering",
        "crashed",
        _EXHAUSTION,
        expected_signature=EXHAUSTED,
        returncodes=PANIC,
        load=GENTLE,
    ),
    _only(
        "context-per-check",
        "answering",
        "crashed",
        "seven descriptors and two threads per check stay; EMFILE, in libzmq's own assertion or as a panic",
        expected_signature=EXHAUSTED,
        returncodes=(*SIGNALS, *PANIC),
        load=Load(connections=4, concurrency=4, events=2, cycles=12),
    ),
    _only(
        "shared-socket",
        "silent",
        "crashed",
        _FREED,
        expected_signature=ASSERTION,
        returncodes=SIGNALS,
        load=HELD,
    ),
    _only(
        "abandoned-check",
        "silent",
        "bounded",
        "threads grow for as long as the receive's timeout and fall after it: back at rest",
        load=Load(connections=12, concurrency=12, events=2, cycles=6, dwell=2.0),
    ),
    _only("unseen-disconnect", "answering", "leaking", _STAYS, load=GENTLE),
    _only(
        "no-flush",
        "answering",
        "stalled",
        "clients get neither headers nor events; what was held back goes with them",
        also_stalled=True,
        load=HELD,
    ),
    _only(
        "unbounded-buffer",
        "answering",
        "leaking",
        "about 32 KiB per event that a stalled reader did not take, from the first 0.3 MB on",
        load=STALLED,
    ),
    _only("unbounded-history", "answering", "leaking", "four results per event", load=MANY),
    _only(
        "linger-forever",
        "answering",
        "bounded",
        "bounded while it runs; at SIGTERM it hangs in zmq_ctx_term and has to be killed",
        expected_signature=HANGS,
        returncodes=KILLED,
        load=GENTLE,
    ),
    _only(
        "leak-on-error",
        "flapping",
        "leaking",
        "two descriptors per broker timeout, none per answered check",
        load=Load(connections=12, concurrency=12, events=2, cycles=6, dwell=2.0),
        arguments=("--time-scale", "0.05", "--timeout", "0.1"),
    ),
)

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {profile.name: profile for profile in (*_MAIN, *_alone("upstream"), *_alone("original"), *_ONLY)}
)


def named(name: str) -> Profile:
    """The profile of that name. Raises UnknownProfile that lists the names there are."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownProfile(f"unknown profile {name!r}: expected one of {', '.join(PROFILES)}") from None


def catalogue() -> dict[str, Any]:
    """Everything there is, as ``--describe`` prints it: ``profiles`` (a list of rows), ``defects`` and
    ``mitigations`` (name, summary and, for defects, what must be seen)."""
    from harness.reference import defects, mitigations
    from harness.reference.blueprint import module, names

    def entry(package: Any, name: str) -> dict[str, str]:
        part = module(package, name)
        shown = {"name": name, "summary": part.SUMMARY}
        return shown | ({"seen": part.SEEN} if package is defects else {})

    return {
        "schema_version": SCHEMA_VERSION,
        "profiles": [asdict(profile) for profile in PROFILES.values()],
        "defects": [entry(defects, name) for name in names(defects)],
        "mitigations": [entry(mitigations, name) for name in names(mitigations)],
    }
