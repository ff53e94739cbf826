"""The type of a profile (defects, mitigations, expected outcome), and the values that several profiles use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.reference.loads import Load

CRASHED, BOUNDED, LEAKING, STALLED = "crashed", "bounded", "leaking", "stalled"
INCONCLUSIVE = "inconclusive"

# Names of log signatures, any of which a crash may leave.
LIBZMQ = ("zeromq-assertion", "python-sigsegv", "python-abort", "python-fatal", "zeromq-epoll-emfile")
EXHAUSTION = ("emfile", "zeromq-epoll-emfile")

# The same as Python regular expressions, for searching a log.
# libzmq ends with "Assertion failed: … (src/x.cpp:1)", or with the words of an errno before the place (src/err.hpp).
ASSERTION = r"\(src/\w+\.[ch]pp:\d+\)|Fatal Python error: "
EXHAUSTED = r"Too many open files"
HANGS = r"Context termination timeout"
CLOSE_FAILS = r"Socket close failure"

SIGNALS = (-6, -11, -8)
PANIC = (2,)
STOPPED = (0,)
KILLED = (-9,)

ORIGINAL = ("socket-per-check",)
UPSTREAM = ("shared-socket", "abandoned-check", "unseen-disconnect", "no-flush")

EXHAUSTION_CRASH = (
    "two descriptors per check stay open until the process has 1,024: EMFILE, a panic, status 2"
)
FREED_CRASH = "the first receive that times out closes the socket under the other threads: libzmq aborts"
STAYS = "no crash; of each client that left the descriptor and the ticking handler stay"


@dataclass(frozen=True, slots=True)
class Profile:
    """One row.

    claim: what the root cause analysis says of it. broker: what the broker must do: ``answering``,
    ``silent`` or ``flapping`` (silent in turn). expected: ``crashed``, ``bounded``, ``leaking``,
    ``stalled`` or ``inconclusive``; the worst of what is true, in the order crashed, leaking, stalled.
    explanation: how it crashes, or what it retains, or why it does neither. signatures: names of crash signatures, of
    which one must be found in the log of a crash. in_log: regular expression that must match the log of the service or
    of its ZeroMQ process; empty: none.
    returncodes: of the process at its end, negative for a signal; 0 for one that has to be stopped.
    streams: whether clients get events; None where a crash and the first event race.
    base: the defect that a mitigation is tested on. also: outcomes that are accepted as well, where the speed of the
    machine decides which one is certain first. times: settings in seconds in place of the scaled ones, by name.
    """

    name: str
    summary: str
    defects: tuple[str, ...]
    mitigations: tuple[str, ...]
    broker: str
    expected: str
    explanation: str
    claim: str = "–"
    signatures: tuple[str, ...] = ()
    in_log: str = ""
    returncodes: tuple[int, ...] = STOPPED
    streams: bool | None = True
    base: str = ""
    load: Load = field(default_factory=Load)
    also: tuple[str, ...] = ()
    times: Mapping[str, float] = field(default_factory=dict)
