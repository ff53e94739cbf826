"""A guard's request as one value: the service, the load, the judgement and the output.

The command line, the pytest fixture, a soak and ``harness reproduce`` build it. ``request_of`` takes the options by
their names, which are the same everywhere: ``dwell`` is ``--dwell`` and ``guard(dwell=…)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness.core.budget import RETENTION, Budget
from harness.core.errors import OptionError
from harness.core.note import Note
from harness.http.endpoint import written_target
from harness.swarm.load import MAX_CONNECTIONS, LoadOptions
from harness.target.spawn import fill_port

MIN_CYCLES = 3  # load cycles that the option must allow, as many as a Goal runs at least


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """The service under test. One of ``command``, ``pid`` and ``probe_command`` is needed; the last may be combined
    with a command, such as one that starts a container.

    urls: where its streams are, all of one host; ``{port}`` in them and in the command is replaced by a free port.
    ready: URL that answers below 500 once the service is ready; None: its port accepts connections. nofile:
    RLIMIT_NOFILE. runtime: whose counters are read (harness.runtime.detect.OVERRIDES). pprof: a Go service's pprof
    pages, when they are not on the URL's port. probe_command: prints what ``harness probe`` prints. with_broker:
    whether a fake broker runs. broker_dialect, broker_services, broker_faults: of that broker; a fault is written as
    for ``fake-broker --fault`` and active from the broker's start. preflight: whether each URL is requested once
    before the load. grace, preflight_timeout: seconds, the first of them between SIGTERM and SIGKILL at the end.
    """

    urls: tuple[str, ...]
    command: tuple[str, ...] | None = None
    pid: int | None = None
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    ready: str | None = None
    ready_timeout: float = 30.0
    nofile: int | None = None
    runtime: str = "auto"
    pprof: str | None = None
    probe_command: str | None = None
    with_broker: bool = False
    broker_dialect: str = "plantd"
    broker_services: tuple[str, ...] = ()
    broker_faults: tuple[str, ...] = ()
    preflight: bool = True
    preflight_timeout: float = 5.0
    grace: float = 3.0

    @property
    def url(self) -> str:
        """The first URL."""
        return self.urls[0]

    @property
    def paths(self) -> tuple[str, ...]:
        """The request target of each URL."""
        return tuple(written_target(fill_port(url, 1)) for url in self.urls)


@dataclass(frozen=True, slots=True)
class JudgementOptions:
    """The measurement: its limits of time, its sensitivity and its budget. Times are in seconds.

    sensitivity: smallest leak per answered stream that must not be missed. max_time: of the whole guard. cycles: load
    cycles at most. settle: time without change after which a level is read. settle_timeout: time after which a
    service whose counts still change counts as never settling. retention: time for which growth may stay before it is
    a leak; None: the budget's ``retain``, else RETENTION. budget_notes: where the budget came from, for the report.
    profile: the profile of the budget. self_test: a pass must find a planted leak. soak: the verdict bounds the growth
    of every metric per hour.
    """

    sensitivity: float = 1e-3
    max_time: float = 120.0
    cycles: int = 60
    settle: float = 1.0
    settle_timeout: float = 30.0
    retention: float | None = None
    budget: Budget = field(default_factory=Budget)
    budget_notes: tuple[Note, ...] = ()
    profile: str | None = None
    self_test: bool = False
    soak: bool = False

    @property
    def retain(self) -> float:
        """Seconds for which growth may stay before it is a leak: the option, else the budget's value for every metric,
        else the default."""
        if self.retention is not None:
            return self.retention
        return self.budget.retain.get("*", RETENTION)

    @property
    def allowed(self) -> Budget:
        """The budget that the trial is judged by: the option ``retention`` precedes the budget's own times."""
        return self.budget if self.retention is None else replace(self.budget, retain={})


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where the run is saved, and what must not appear in it.

    out: folder of the run; None: one of its own in ``reports/``. name: of the trial. secrets: exact values that are
    replaced by ``***`` wherever they are stored or shown. redact: regular expressions of further secrets.
    prometheus: HOST:PORT where live figures are served. otlp: URL of an OpenTelemetry collector that receives them.
    """

    out: Path | None = None
    name: str = "guard"
    secrets: tuple[str, ...] = field(default=(), repr=False)
    redact: tuple[str, ...] = ()
    prometheus: str | None = None
    otlp: str | None = None


@dataclass(frozen=True, slots=True)
class GuardRequest:
    """The request for a guard."""

    service: ServiceOptions
    load: LoadOptions = field(default_factory=LoadOptions)
    judgement: JudgementOptions = field(default_factory=JudgementOptions)
    output: OutputOptions = field(default_factory=OutputOptions)


PARTS = {
    "service": ServiceOptions,
    "load": LoadOptions,
    "judgement": JudgementOptions,
    "output": OutputOptions,
}
OPTIONS = {one.name: (part, str(one.type)) for part, kind in PARTS.items() for one in fields(kind)}
"""Name of an option → its part of a request, and its type as written."""


def request_of(
    url: str | Sequence[str], *, command: Sequence[str] | None = None, **options: Any
) -> GuardRequest:
    """The request that options describe, each by its name. url: one, or several of the same host. Raises TypeError for
    a name that is not an option."""
    urls = (url,) if isinstance(url, str) else tuple(url)
    arguments = tuple(command) if command else None
    given: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for name, value in {**options, "urls": urls, "command": arguments}.items():
        if name not in OPTIONS:
            raise TypeError(f"{name}: no such option")
        given[OPTIONS[name][0]][name] = value
    return GuardRequest(**{part: kind(**given[part]) for part, kind in PARTS.items()})


def with_options(request: GuardRequest, **options: Any) -> GuardRequest:
    """The same request with some options changed, each by its name."""
    changed = {}
    for part in PARTS:
        values = {name: value for name, value in options.items() if OPTIONS[name][0] == part}
        if values:
            changed[part] = replace(getattr(request, part), **values)
    return replace(request, **changed)


def check_amounts(request: GuardRequest) -> None:
    """Raises OptionError naming the option whose number is outside of its range."""
    for one in fields(LoadOptions):
        amount = getattr(request.load, one.name)
        # The fields with a range carry it as metadata (harness.swarm.load).
        if one.metadata and amount is not None:
            _check(one, amount)
    _check_count("cycles", request.judgement.cycles, MIN_CYCLES, MAX_CONNECTIONS)


def _check(one: Field[Any], amount: float) -> None:
    low, high, unit = one.metadata["low"], one.metadata["high"], one.metadata["unit"]
    if not unit:
        _check_count(one.name, amount, low, high)
    elif low <= amount <= high:
        return
    elif unit == "bytes":
        raise OptionError(
            one.name, amount, f"expected a size from {low} byte to {high >> 20} MiB, such as 4 MiB"
        )
    else:
        raise OptionError(
            one.name, amount, f"expected a time from {low:g}s to {high / 3600:.0f}h, such as 2s"
        )


def _check_count(option: str, amount: float, low: int, high: int) -> None:
    if amount < low:
        raise OptionError(option, amount, f"expected at least {low}")
    if amount > high:
        raise OptionError(option, amount, f"expected at most {high}")
