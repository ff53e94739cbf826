"""The judgement, with its evidence. The JSON form is in docs/architecture.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.core import errors


class Outcome(StrEnum):
    """The outcome of a trial, worst first."""

    CRASHED = "crashed"
    LEAKING = "leaking"
    STALLED = "stalled"
    OVER_CEILING = "over-ceiling"
    UNREADY = "unready"  # the service never served a stream: nothing could be measured
    INCONCLUSIVE = "inconclusive"
    INFRASTRUCTURE = "infrastructure"
    BOUNDED = "bounded"

    @property
    def exit_code(self) -> int:
        """The documented exit code."""
        return {
            Outcome.BOUNDED: errors.EXIT_BOUNDED,
            Outcome.INCONCLUSIVE: errors.EXIT_INCONCLUSIVE,
            Outcome.INFRASTRUCTURE: errors.EXIT_INFRASTRUCTURE,
        }.get(self, errors.EXIT_SERVICE)


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with its 95 % interval; unit such as ``fds/connection``."""

    value: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """The forecast of when the service reaches the nearest ceiling at the present rate. after_connections: like those
    of the load measured; None where it grows over time whatever the load, or while ``clients`` stay connected, so that
    only seconds count."""

    ceiling: str  # RLIMIT_NOFILE, zmq max_sockets, pids.max, …
    limit: float
    after_connections: float | None
    after_seconds: float | None = None
    after_connections_low: float | None = None
    after_connections_high: float | None = None
    clients: int | None = None  # that stay connected; None for growth that is retained after they disconnect


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that grew (status ``leaking``; ``suspected`` while the retention time is not over) or passed a
    ceiling (``over-ceiling``)."""

    metric: str
    kind: str
    status: str
    driver: str | None
    rate: Rate | None
    explanation: str
    recipe: str | None = None
    exhausts: Exhaustion | None = None
    where: tuple[str, ...] = ()  # attribution: lines of code, stacks, types
    retained_seconds: float | None = None  # how long the oldest growth has been retained
    scope: str = "after-disconnect"  # or "while-connected"
    # One unit of the rate's driver in words, which may say more than the driver: "request reset before its answer".
    # Empty over time, and in a record of an earlier version.
    per: str = ""
    # What became of the rest: "the rest was released 21 s after the client disconnected".
    released: str = ""
    # Where the growth ended because the service stopped serving: "701, then only status 500".
    reached: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """A metric without a finding, and the largest growth that it can have. status: ``bounded``; ``retention`` for a
    pool that stopped growing; ``undecided`` for too little evidence; ``observed`` for a metric that decides nothing."""

    metric: str
    kind: str
    status: str
    at_most: float
    unit: str
    confidence: float = 0.95
    explanation: str = ""
    scope: str = "after-disconnect"  # or "while-connected"
    missed: float | None = None  # probability that a leak of the asked size would have stayed unseen
    # Of status ``retention``: the pool that filled, or when what was retained was released.
    retained: str = ""

    @property
    def odds(self) -> str:
        """``one of 665 runs``: how often a pass misses a leak of the asked size; empty where that is not known."""
        if self.missed is None:
            return ""
        return (
            f"one of {1 / self.missed:.0f} runs" if self.missed >= 0.001 else "fewer than one of 1,000 runs"
        )

    @property
    def per_stream(self) -> bool:
        """Whether it bounds what a stream leaves after its client disconnected; other bounds are over time, or while
        connected."""
        return self.scope == "after-disconnect" and not self.unit.endswith("/hour")


@dataclass(frozen=True, slots=True)
class Crash:
    """The exit of the service under load."""

    returncode: int | None
    signal: str | None  # SIGABRT …
    signature: str | None  # name of the signature found in the log
    line: str | None  # the log line that matched
    at_seconds: float
    at_connection: int
    grown: Mapping[str, float] = field(default_factory=dict)  # key → growth before the exit
    during: str = ""  # the step in which it exited, such as "cycle 3 (load)"
    trace: tuple[str, ...] = ()  # frames of the stack that crashed, those of the service first


@dataclass(frozen=True, slots=True)
class Waiting:
    """Growth that certainly follows a driver and is younger than the retention time: the only reason why the run is
    inconclusive. age: seconds for which the oldest of it was retained. retention: seconds that a leak outlives."""

    age: float
    retention: float

    def text(self) -> str:
        """``retained for 12 s so far; growth that outlives 60 s is a leak``."""
        outlives = f"growth that outlives {self.retention:g} s is a leak"
        if self.age > self.retention:  # it was retained while clients came: what replaced it looks the same
            return f"seen for {self.age:.0f} s so far, but not long enough without clients; {outlives}"
        return f"retained for {self.age:.0f} s so far; {outlives}"


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """The whole judgement of one trial."""

    outcome: Outcome
    explanation: str
    findings: tuple[Finding, ...] = ()
    bounds: tuple[Bound, ...] = ()
    crash: Crash | None = None
    stalled: str | None = None
    also: tuple[Outcome, ...] = ()  # lesser outcomes that hold as well
    warnings: tuple[str, ...] = ()
    advice: str = ""
    waiting: Waiting | None = None

    @property
    def exit_code(self) -> int:
        """The documented exit code of the outcome."""
        return self.outcome.exit_code

    @property
    def bounded(self) -> bool:
        """True when no leak was found."""
        return self.outcome is Outcome.BOUNDED

    def __repr__(self) -> str:
        """Short: pytest shows it below the evidence."""
        return f"Verdict({self.outcome.value})"

    def explain(self) -> str:
        """The evidence as plain text, for an assertion message or a terminal."""
        lines = [f"{self.outcome.value}: {self.explanation}"]
        lines.extend(f"    at {frame}" for frame in (self.crash.trace if self.crash else ()))
        for finding in self.findings:
            if finding.explanation != self.explanation:
                lines.append(f"  {finding.explanation}")
            lines.extend(f"    at {place}" for place in finding.where)
        lines.extend(f"  warning: {warning}" for warning in self.warnings)
        if self.advice:
            lines.append(f"  next: {self.advice}")
        return "\n".join(lines)
