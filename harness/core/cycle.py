"""One cycle (load, drain, settle): its plan, what the swarm counted, and the levels afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.core.metric import Key
from harness.core.note import Note
from harness.core.sample import Census


class Phase(StrEnum):
    """Why a cycle was run."""

    WARMUP = "warmup"
    IDLE = "idle"  # a control: as long as a load, without clients
    LOAD = "load"
    ATTRIBUTION = "attribution"
    HOLD = "hold"  # clients stay connected while levels are read
    # No clients, until what was retained is older than the retention time; at the end a few requests.
    RETENTION = "retention"
    SEARCH = "search"  # allocations are traced, to find the place in the source


DISCONNECT_MODES = ("fin", "rst", "rst-early", "half-close", "stall")


@dataclass(frozen=True, slots=True)
class CycleSpec:
    """The specification of one cycle for the swarm.

    connections: streams opened in total. concurrency: streams open at once.
    dwell: longest life of a stream in seconds. events: disconnect after this many events (0: after the dwell alone).
    disconnect: a mode of DISCONNECT_MODES, or ``mixed`` for equal parts.
    paths: opened in turn. mode: ``stream`` (SSE) or ``request`` (plain HTTP).
    fault: what the fake broker does during the cycle (``silence``), empty for its usual behaviour.
    invalid: share of the requests that are invalid (``harness.swarm.requests``).
    stalled: streams that stop reading as soon as the response head has arrived, and stay for the dwell.
    """

    index: int
    connections: int
    concurrency: int
    dwell: float
    events: int = 1
    disconnect: str = "fin"
    paths: tuple[str, ...] = ("/",)
    phase: Phase = Phase.LOAD
    mode: str = "stream"
    fault: str = ""
    stalled: int = 0
    invalid: float = 0.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The counts of the swarm in one cycle. Every opened stream ends in exactly one of
    ``completed``, ``failed`` (by cause in ``causes``) or ``open_now``.

    seconds: length of the load. aborts: streams that disconnected other than by ``fin``.
    stalls: streams that went silent (or never began) for longer than the stall time.
    saturated: the generator itself was the bottleneck.

    Exposure, in streams (connections of plain requests). Each finished stream is in at most one of:
    answered: a response head with an accepted status arrived, whatever happened later.
    refused: the status was rejected, such as 429 or 503. ``statuses`` counts them by status.
    reset: the connection ended before the response head, by ``rst-early`` or by the service.
    unanswered: the request was sent, and no response head arrived until the client disconnected.
    The others never connected, were cancelled, or met something that is not HTTP.
    answered is None in a record of an older harness. answered_by_mode: how answered streams disconnected.
    eventless: stalls that were answered and got no event at all; None in a record of an older harness.

    peak: streams open at once, at most. bursts: times that the number of open streams rose from none.
    clients: distinct clients of the whole run so far. invalid: streams whose request was invalid.
    details: cause → a sentence on the first stream that failed by it, where the cause alone says too little.
    first_failure: cause of the first failed stream, "" if none failed. opened_before_failure: streams opened until
    then. answered_after_failure: streams that were answered and did not fail after it; 0 means that the service
    only failed from then on.
    """

    opened: int = 0
    completed: int = 0
    failed: int = 0
    open_now: int = 0
    events: int = 0
    comments: int = 0
    bytes: int = 0
    aborts: int = 0
    stalls: int = 0
    rate_limited: int = 0
    seconds: float = 0.0
    stream_seconds: float = 0.0
    first_event_p50: float | None = None  # seconds
    first_event_p95: float | None = None
    first_event_p99: float | None = None
    causes: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    by_path: Mapping[str, int] = field(default_factory=dict)
    by_mode: Mapping[str, int] = field(default_factory=dict)
    answered: int | None = None
    answered_by_mode: Mapping[str, int] = field(default_factory=dict)
    eventless: int | None = None
    refused: int = 0
    reset: int = 0
    unanswered: int = 0
    statuses: Mapping[int, int] = field(default_factory=dict)
    peak: int = 0
    bursts: int = 0
    clients: int = 0
    invalid: int = 0
    first_failure: str = ""
    opened_before_failure: int | None = None
    answered_after_failure: int = 0
    ids_missed: int = 0
    ids_repeated: int = 0
    ids_disordered: int = 0
    saturated: bool = False
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class BrokerCount:
    """The counts of the fake broker during one cycle. ``peers`` and ``identities`` are live now;
    the others are counts since the last cycle."""

    peers: int
    identities: int
    requests: int
    replies: int
    unanswered: int  # requests that got no reply: the client's timeouts


@dataclass(frozen=True, slots=True)
class Reading:
    """Levels while clients were connected. at: seconds since the run's start. events: received until then, by all
    clients of the cycle; None in a record of an older harness."""

    at: float
    levels: Mapping[Key, float]
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One finished (or cut short) cycle: all that the judge sees of it.

    levels: settled level per key; absent: could not be read. settled: False if the counts never settled. unsettled:
    the counts that kept changing. A service that settled can have some too: counts that fluctuate above a constant
    minimum. complete: False if the target exited or the run was stopped during the cycle.
    idle_counts: the counts of the hot lane without clients,
    one entry for each change, which show when something was released.
    """

    spec: CycleSpec
    ledger: Ledger
    levels: Mapping[Key, float]
    started: float  # seconds since the run's start
    ended: float
    load_ended: float | None = None
    settled: bool = True
    unsettled: str = ""
    complete: bool = True
    close_lag: float = 0.0  # seconds from the last disconnect until no count changed any more
    broker: BrokerCount | None = None
    census: Census | None = None
    events: tuple[str, ...] = ()  # processes of the tree that ended or became another program
    connected: tuple[Reading, ...] = ()  # of a hold cycle, oldest first
    idle_counts: tuple[tuple[float, float, float], ...] = ()  # (seconds since the run's start, fds, threads)
