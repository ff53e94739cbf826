"""What a trial is made of: the service, the load, the settling, the limits of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.budget import Budget
from harness.core.plan import Step
from harness.core.record import Trial
from harness.core.sse.event import DEFAULT_LIMIT
from harness.experiment.broker import BrokerSetup
from harness.experiment.target_runtime import RuntimeSetup

Steps = Callable[[Trial], Step]
"""Given what has been seen so far: the next cycle, or why to stop. Pure."""


@dataclass(frozen=True, slots=True)
class ServiceSetup:
    """The service under test. Exactly one of ``command`` and ``pid`` is given.

    url: where its streams are, ``{port}`` allowed with a command. paths: streams opened in turn.
    ready_url: answered below 500 once ready (default: the port accepts). nofile: RLIMIT_NOFILE.
    grace: seconds between SIGTERM and SIGKILL at the end.
    """

    url: str
    paths: tuple[str, ...]
    command: tuple[str, ...] | None = None
    pid: int | None = None
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    nofile: int | None = None
    ready_url: str | None = None
    ready_timeout: float = 30.0
    grace: float = 3.0
    preflight: bool = True
    preflight_timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class LoadSetup:
    """How the swarm connects. stall_after: seconds of silence that count as a stall. max_event: bytes of the data of
    one event at most.

    insecure: certificates are not verified; ca: a PEM file of authorities. source_addresses: local
    addresses from which streams are opened in turn. processes: generators on this machine. keep_alive: in mode
    ``request`` a connection asks more than once. expect: statuses that answer a request. clients: distinct clients.
    locustfile: the user's own Locust users make the load.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes | None = None
    insecure: bool = False
    ca: Path | None = None
    stall_after: float = 10.0
    max_event: int = DEFAULT_LIMIT
    source_addresses: tuple[str, ...] = ()
    processes: int = 1
    mode: str = "stream"
    keep_alive: bool = False
    expect: tuple[str, ...] = ()
    clients: int = 0
    locustfile: Path | None = None


@dataclass(frozen=True, slots=True)
class TrialSetup:
    """One trial. settle: seconds without change that make a level. patience: seconds after which
    the counts count as never settling. max_seconds: budget of the whole trial, from its first cycle.
    limit: seconds from the trial's start after which whatever is in progress is cancelled; None: no such limit.
    retention: seconds for which growth may stay before it is a leak.
    resumed: what was measured before an interruption, to go on with.
    probe_command: words of a command that prints what ``harness probe`` prints, for a service elsewhere."""

    name: str
    service: ServiceSetup
    steps: Steps
    load: LoadSetup = field(default_factory=LoadSetup)
    broker: BrokerSetup | None = None
    budget: Budget = field(default_factory=Budget)
    settle: float = 2.0
    patience: float = 60.0
    max_seconds: float = 120.0
    limit: float | None = None
    sensitivity: float = 1e-3
    retention: float = 0.0
    probe_interval: float = 0.1
    probe_command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    runtime: RuntimeSetup = field(default_factory=RuntimeSetup)
    extra: Mapping[str, object] = field(default_factory=dict)
    resumed: Trial | None = None
