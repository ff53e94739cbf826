"""Everything needed to judge a run again, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.core.budget import Budget
from harness.core.cycle import Observation
from harness.core.metric import Key
from harness.core.note import Note
from harness.core.verdict import Verdict

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """The service under test. limits: ceiling name → value (RLIMIT_NOFILE, pids.max, …)."""

    command: tuple[str, ...] | None
    url: str
    pid: int
    runtime: str = "native"
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """The exit of a target before the harness stopped it; None in a Trial whose target did not exit.

    returncode: negative for a signal, as subprocess has it. at: seconds since the run's start.
    connections: streams opened by then. log_tail: the last lines of its log. during: the step in which it exited, such
    as ``cycle 3 (load)``; "" in a record of an older harness. trace: the stack that the log or a core file shows,
    folded to the frames that matter (harness.core.trace).
    """

    returncode: int | None
    at: float
    connections: int
    log_tail: tuple[str, ...] = ()
    during: str = ""
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container that gains elements. name: as the code has it, such as ``Hub._subscribers``; "" when nothing names
    it. kind: its type, such as ``list``. item: the class of an element; "" when unknown."""

    name: str
    kind: str
    item: str = ""

    @property
    def described(self) -> str:
        """``a list``, ``an array``."""
        return f"{'an' if self.kind[:1].lower() in 'aeiou' else 'a'} {self.kind}"

    @property
    def site(self) -> str:
        """``"`app.Subscriber` in `app.Hub._subscribers`, a list"``."""
        held = f"`{self.item}` in " if self.item else ""
        return f"{held}`{self.name}`, {self.described}" if self.name else f"{held}{self.described}"


@dataclass(frozen=True, slots=True)
class Place:
    """Something that grew from cycle to cycle, seen from inside. kind: ``task``, ``thread``, ``line``, ``type``,
    … text: where, how many and how many bytes per unit of the driver. own: code of the service, not of a library.
    container: of kind ``container``. rate: growth per unit of the driver, in what the kind counts; None in a record of
    an earlier version that does not show it. per: the unit of the driver, such as ``connection``."""

    kind: str
    text: str
    own: bool = True
    container: Container | None = None
    rate: float | None = None
    per: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """The places at which a certain leak grew during further cycles, the most useful first. more: places left out.
    notes: what limits this. partial: the search was stopped before it was complete."""

    places: tuple[Place, ...] = ()
    more: int = 0
    notes: tuple[Note, ...] = ()
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """An interrupted run continued with a new process of the service, whose levels start again. after: observations
    made before it. at: seconds since the run's start. gap: seconds, by the wall clock, in which nothing was measured.
    initial: levels of the new process before its first client."""

    after: int
    at: float
    gap: float
    initial: Mapping[Key, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class About:
    """Facts about a trial besides its measurements; empty where they are not known.

    mode: of the load. load: in a few words; runs with the same words are comparable. soak: bounds per hour are asked
    for. budget_profile: whose budgets were used. runtime_version: of the service. advice: the next step where it never
    got ready. stopped_with, last_lines: return code and last lines of a service that the harness stopped.
    search_seconds: time that the search for the place took. peak_fds, peak_threads, peak_rss: highest readings.
    profile: of the reference service, with its summary, ``claim`` (what the analysis says of it), the expected outcome
    and log line, ``scale`` (real or scaled time) and ``ramp`` (streams of each cycle). confirmed: whether it ended as
    expected; note: why not, or what was seen.
    """

    mode: str = ""
    load: str = ""
    soak: bool = False
    budget_profile: str = ""
    runtime_version: str = ""
    advice: str = ""
    stopped_with: int | None = None
    last_lines: tuple[str, ...] = ()
    search_seconds: float | None = None
    peak_fds: float | None = None
    peak_threads: float | None = None
    peak_rss: float | None = None
    profile: str = ""
    summary: str = ""
    claim: str = ""
    expected: str = ""
    expected_in_log: str = ""
    scale: str = ""
    ramp: tuple[int, ...] = ()
    confirmed: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """One target under one plan: the judge's whole input."""

    name: str
    target: TargetInfo
    budget: Budget
    observations: tuple[Observation, ...] = ()
    exit: ExitInfo | None = None
    interrupted: bool = False
    infrastructure: str | None = None  # what broke on our side
    unready: str | None = None  # never got ready, or does not stream: nothing could be measured
    notes: tuple[Note, ...] = ()
    sensitivity: float = 1e-3  # units per answered stream that must not be missed
    retention: float = 0.0  # seconds for which a healthy service may retain what a stream used
    initial: Mapping[Key, float] = field(default_factory=dict)  # levels before the first client
    started: float = 0.0
    ended: float = 0.0
    verdict: Verdict | None = None
    searched: bool = False  # for the place in the source, whether or not it was found
    places: Places | None = None  # where the target grows, once a leak was certain
    about: About = field(default_factory=About)
    restarts: tuple[Restart, ...] = ()  # of a soak that was resumed, oldest first


def as_ended(trial: Trial) -> Trial:
    """The trial of a saved run, fit to be judged: one whose run was killed was interrupted after its last cycle."""
    if trial.verdict or trial.ended:
        return trial
    last = trial.observations[-1].ended if trial.observations else trial.started
    return replace(trial, interrupted=True, ended=last)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A saved run: one or more trials (``harness reproduce`` has one per profile)."""

    run_id: str
    command: str
    started_at: str  # ISO 8601, UTC
    seed: int
    trials: tuple[Trial, ...] = ()
    machine: Mapping[str, object] = field(default_factory=dict)
    harness_version: str = ""
    schema_version: int = SCHEMA_VERSION
