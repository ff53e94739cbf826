"""Every claim of the root cause analysis, and how a run tests it.

The analysis is ``docs/reports/sse-zmq-cgo-signal-stack-corruption-rca.md`` of plantd; ``section`` is a heading of it.
Rows without a section there are claims of this service: what a defect must show, and what its source shows beyond the
analysis. ``by`` names the rule that decides (``harness.core.claims``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.reference.profile import BOUNDED, LEAKING, Profile
from harness.reference.profiles import PROFILES
from harness.reference.single_defects import SINGLE_DEFECTS
from harness.reference.single_mitigations import SINGLE_MITIGATIONS
from harness.reference.variations import VARIATIONS

# Repeats of a trial: of a crash or a leak; of a pass; of two whose times to a crash are compared;
# and of a comparison that is to show that there is no difference (ENOUGH_REPEATS in harness.core.claims).
REPEATS, BOUNDED_REPEATS, COMPARED_REPEATS, BREAKER_REPEATS = 5, 3, 12, 20
SOURCE = "not in the analysis: published source"
DEFECT = "this service: defect"

LIFECYCLE = "Technical Root Cause 1, ZeroMQ Socket Lifecycle"
CORRUPTION = "Technical Root Cause 2, CGO Signal Stack Corruption"
AMPLIFICATION = "Technical Root Cause 3, Concurrency Amplification"
SOLUTION = "Attempted Solutions, Solution {}"
IMMEDIATE, MEDIUM, LONG = (
    "Recommended Actions, Immediate {}",
    "Recommended Actions, Medium Term {}",
    "Recommended Actions, Long Term {}",
)
APPENDIX = "Appendix: Error Signatures"


@dataclass(frozen=True, slots=True)
class Claim:
    """One row. trials: (profile or variation, repeats). value: what the rule compares with. reason: why it cannot be
    shown, for the rule ``none``."""

    name: str
    section: str
    claim: str
    by: str
    trials: tuple[tuple[str, int], ...] = ()
    value: str = ""
    reason: str = ""


def _repeats(profile: Profile) -> int:
    return BOUNDED_REPEATS if profile.expected == BOUNDED else REPEATS


def _row(
    name: str, section: str, claim: str, by: str = "as-described", value: str = "", alias: str = ""
) -> Claim:
    """A row tested by the profile or variation ``name`` alone."""
    found = PROFILES.get(name) or next(v.profile for v in VARIATIONS if v.profile.name == name)
    return Claim(alias or name, section, claim, by, ((name, _repeats(found)),), value)


_STORY = (
    _row("original", LIFECYCLE, "health checks leave DEALER sockets open until the process dies", "crashes"),
    _row(
        "only-shared-socket",
        SOURCE,
        "one DEALER shared by all threads and replaced on timeout crashes inside libzmq",
        "crashes",
    ),
    _row(
        "upstream",
        SOURCE,
        "the published client crashes when the broker is silent, and no byte reaches its clients",
        "as-described",
    ),
    _row(
        "upstream-real-time",
        "Investigation Timeline, Phase 2",
        "the service crashes about 30 seconds after it starts",
        "within",
        "25 40",
    ),
    Claim(
        "corruption",
        CORRUPTION,
        "garbage collection on memory that dangling sockets corrupted raises SIGSEGV",
        "none",
        reason="the service is written in Python and has no cgo stack; leaked sockets alone end in EMFILE "
        "(row original), and libzmq aborts where sockets are shared (row only-shared-socket)",
    ),
    _row(
        "amplification",
        AMPLIFICATION,
        "checks per second = clients × components ÷ interval",
        "proportional",
        "4 1.0",
    ),
    _row("solution-1", SOLUTION.format(1), "still crashed", "crashes"),
    _row("solution-2", SOLUTION.format(2), "the core issue persisted", "crashes"),
    Claim(
        "solution-2-later",
        SOLUTION.format(2),
        "crashed less often than Solution 1",
        "later",
        (("solution-2", COMPARED_REPEATS), ("solution-1", COMPARED_REPEATS)),
    ),
    Claim(
        "circuit-breaker-frequency",
        SOLUTION.format(2),
        "the circuit breaker alone reduces the crash frequency",
        "later",
        (("circuit-breaker", BREAKER_REPEATS), ("upstream", BREAKER_REPEATS)),
    ),
    _row("solution-3", SOLUTION.format(3), "streaming works again, crashes continue"),
    *(
        _row(
            f"solution-{number}-with-pool",
            SOLUTION.format(number),
            f"what remains after Solution {number} once the crash is out of the way: {rest}",
        )
        for number, rest in (
            (1, "clients that disconnect are not seen, and no byte arrives"),
            (2, "the same"),
            (3, "clients that disconnect are not seen"),
        )
    ),
    _row("fixed", "Recommended Actions, all", "everything together neither crashes nor leaks"),
    _row(
        "recommended",
        "Recommended Actions, all",
        "on upstream, all recommendations and solutions together prevent the crash",
        "prevents",
    ),
)

_MONITORING = (
    _row(
        "dangling-sockets",
        IMMEDIATE.format(3),
        "socket monitoring with cleanup verification reveals each leaked socket",
        "recognised",
        "dangling-socket",
        alias="resource-monitoring",
    ),
    _row(
        "errors-handled",
        IMMEDIATE.format(4),
        "closing the socket on the error path too stops the leak that timeouts cause (row only-leak-on-error)",
        "as-described",
    ),
    _row(
        "only-unbounded-history",
        MEDIUM.format(4),
        "memory profiling reveals a leak early",
        "outcome",
        LEAKING,
        alias="memory-profiling",
    ),
    _row(
        "recommended",
        MEDIUM.format(1),
        "a refactored client with proper resource management prevents the crash",
        "prevents",
        alias="client-refactoring",
    ),
    Claim(
        "zeromq-alternatives",
        LONG.format(1),
        "another messaging protocol for health checks prevents the crash",
        "none",
        reason="the service has no other messaging protocol; what asks over HTTP only after ZeroMQ has failed still "
        "crashes (row http-fallback)",
    ),
    Claim(
        "cgo-safety",
        LONG.format(4),
        "a review of cgo usage for memory safety prevents the crash",
        "none",
        reason="a review is no change of the service, and the service has no cgo",
    ),
)

# The section of each action that was tried or recommended.
_SECTIONS = {
    "stream-registry": SOLUTION.format(1),
    "circuit-breaker": SOLUTION.format(1),
    "deadlines": SOLUTION.format(1),
    "graceful-degradation": SOLUTION.format(2),
    "simple-writes": SOLUTION.format(3),
    "pool": IMMEDIATE.format(1),
    "serialize": IMMEDIATE.format(2),
    "http-fallback": MEDIUM.format(2),
    "explicit-close": MEDIUM.format(3),
    "isolate": LONG.format(2),
    "socket-limit": LONG.format(3),
    "bounded-history": LONG.format(3),
}

_SIGNATURES = (
    _row(
        "dangling-sockets",
        APPENDIX,
        "“Dangling ZeroMQ DEALER socket” is provoked and recognised",
        "recognised",
        "dangling-socket",
        alias="signature-dangling",
    ),
    _row(
        "only-linger-forever",
        APPENDIX,
        "“Context termination timeout” is provoked and recognised",
        "recognised",
        "context-termination",
        alias="signature-context",
    ),
    _row(
        "only-double-close",
        APPENDIX,
        "“Socket close failure” is provoked and recognised",
        "recognised",
        "socket-close",
        alias="signature-close",
    ),
)


def _actions() -> Iterator[Claim]:
    for profile in SINGLE_MITIGATIONS:
        action = profile.mitigations[0]
        yield _row(
            profile.name,
            _SECTIONS[action],
            f"adding only {action} prevents the crash of {profile.base}",
            "prevents",
        )


def _defects() -> Iterator[Claim]:
    tested = {claim.name for claim in _STORY}
    for profile in SINGLE_DEFECTS:
        if profile.name not in tested:
            yield _row(profile.name, f"{DEFECT} {profile.defects[0]}", profile.explanation)
    yield _row("bare", "this service: no defect", "without a defect nothing stays")


CLAIMS: tuple[Claim, ...] = (*_STORY, *_actions(), *_MONITORING, *_SIGNATURES, *_defects())
