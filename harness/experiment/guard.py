"""Guard one service: the plan of `harness guard`, of the pytest fixture and of a soak."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

from harness.core.budget import RETENTION, Budget
from harness.core.cycle import DISCONNECT_MODES
from harness.core.errors import ConfigError, TargetError
from harness.core.expected import statuses
from harness.core.judge.selftest import confirmed
from harness.core.plan import Goal, next_step
from harness.core.record import Trial
from harness.core.redact import Redactor
from harness.core.sse.event import DEFAULT_LIMIT
from harness.core.units import counted
from harness.core.verdict import Verdict
from harness.experiment.amounts import check_amounts
from harness.experiment.broker import SERVICES, BrokerSetup, needs_proxy
from harness.experiment.context import Progress
from harness.experiment.redaction import redactor
from harness.experiment.remote_target import probe_argv
from harness.experiment.resume import Resumption
from harness.experiment.run import Run
from harness.experiment.setup import LoadSetup, ServiceSetup, Steps, TrialSetup
from harness.experiment.target_runtime import RuntimeSetup
from harness.http.endpoint import Endpoint, written_target
from harness.http.request import Request as HttpRequest
from harness.http.tls import tls_context
from harness.runtime.detect import choose
from harness.store.plan import save_plan
from harness.store.tidy import MOST
from harness.target.attach import AttachedTarget
from harness.target.ready import check_url
from harness.target.spawn import fill_port


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks of a guard. One of ``command``, ``pid`` and ``probe_command`` is needed; the last may
    also stand beside a command, such as one that starts a container.

    url: one URL or several of the same host; ``{port}`` in it and in the command is replaced by a free
    port. connections: per cycle. sensitivity: smallest leak per answered stream that must not be missed.
    retention: seconds for which growth may stay before it is a leak; None: the budget's ``retain``, else 60.
    max_time: seconds. self_test: a pass must find a planted leak. settle: seconds without change that make a
    level. hold: seconds that clients stay connected in the hold cycle; 0: no such cycle. runtime: whose counters
    are read (harness.runtime.detect.OVERRIDES). pprof: a Go service's pprof pages, when they are not on the url's
    port.
    max_event: bytes of the data of one event; a stream with more fails with the cause ``limit``.
    expect: statuses that answer a request, such as ``503`` or ``4xx``. invalid_share: of the requests. clients:
    distinct clients that take turns; 0: one, or as many as streams where ``{client}`` stands in the request.
    keep_alive: in mode ``request`` each connection asks ``events`` times. locustfile: whose users load instead.
    soak: the verdict gives bounds per hour of every metric. budget_notes: where the budget came from, for the report.
    broker_dialect, broker_services, broker_faults: of the broker that ``with_broker`` starts; a fault is written as for
    ``fake-broker --fault`` and on from the broker's start.
    profile: whose budgets they are. secrets: exact values that are replaced by ``***`` wherever they are stored or
    shown. redact: regular expressions of further ones.
    """

    url: str | Sequence[str]
    command: Sequence[str] | None = None
    pid: int | None = None
    connections: int = 300
    concurrency: int = 50
    dwell: float = 2.0
    events: int = 1
    disconnect: str = "mixed"
    sensitivity: float = 1e-3
    max_time: float = 120.0
    retention: float | None = None
    settle: float = 1.0
    patience: float = 30.0
    cycles: int = 60
    hold: float = 5.0
    mode: str = "stream"
    keep_alive: bool = False
    expect: tuple[str, ...] = ()
    invalid_share: float = 0.0
    clients: int = 0
    locustfile: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes | None = None
    insecure: bool = False
    ca: Path | None = None
    source_addresses: tuple[str, ...] = ()
    processes: int = 1
    stall_after: float | None = None
    max_event: int = DEFAULT_LIMIT
    ready: str | None = None
    ready_timeout: float = 30.0
    nofile: int | None = None
    budget: Budget = field(default_factory=Budget)
    budget_notes: tuple[str, ...] = ()
    profile: str | None = None
    with_broker: bool = False
    broker_dialect: str = "plantd"
    broker_services: tuple[str, ...] = ()
    broker_faults: tuple[str, ...] = ()
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    out: Path | None = None
    seed: int = 0
    name: str = "guard"
    soak: bool = False
    self_test: bool = False
    runtime: str = "auto"
    pprof: str | None = None
    probe_command: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guarded:
    """A finished guard. report: its report.html, or the run's folder when that could not be written."""

    verdict: Verdict
    trial: Trial
    run: Run
    report: Path


def setup_for(request: Request, steps: Steps | None = None) -> TrialSetup:
    """The trial that a request describes. Raises ConfigError naming what does not fit."""
    urls = [request.url] if isinstance(request.url, str) else list(request.url)
    _check(request, urls)
    choose((), request.runtime)
    goal = goal_of(request)
    paths = goal.paths
    return TrialSetup(
        name=request.name,
        service=ServiceSetup(
            url=urls[0],
            paths=paths,
            command=tuple(request.command) if request.command else None,
            pid=request.pid,
            env=request.env,
            cwd=request.cwd,
            nofile=request.nofile,
            ready_url=request.ready,
            ready_timeout=request.ready_timeout,
            preflight=request.locustfile is None,
        ),
        steps=steps or (lambda trial: next_step(trial, goal)),
        load=LoadSetup(
            headers=request.headers,
            method=request.method,
            body=request.body,
            insecure=request.insecure,
            ca=request.ca,
            source_addresses=request.source_addresses,
            processes=request.processes,
            stall_after=request.stall_after if request.stall_after is not None else request.dwell,
            max_event=request.max_event,
            mode=request.mode,
            keep_alive=request.keep_alive,
            expect=request.expect,
            clients=request.clients,
            locustfile=request.locustfile,
        ),
        broker=broker_setup(request),
        budget=_budget(request),
        settle=request.settle,
        patience=request.patience,
        max_seconds=request.max_time,
        limit=request.max_time,
        sensitivity=request.sensitivity,
        retention=retention_of(request),
        notes=request.budget_notes,
        extra={
            "mode": request.mode,
            "load": load_words(request),
            **({"soak": True} if request.soak else {}),
            **({"budget_profile": request.profile} if request.profile else {}),
        },
        runtime=_runtime(request),
        probe_command=probe_argv(request.probe_command) if request.probe_command is not None else (),
    )


def broker_setup(request: Request) -> BrokerSetup | None:
    """The broker that a request describes; None without one. Raises ConfigError naming what does not fit."""
    if not request.with_broker:
        for option, given in (
            ("--broker-fault", request.broker_faults),
            ("--broker-service", request.broker_services),
            ("--broker-dialect", () if request.broker_dialect == "plantd" else (request.broker_dialect,)),
        ):
            if given:
                raise ConfigError(
                    f"{option} {given[0]}: there is no broker; expected --with-broker beside it"
                )
        return None
    return BrokerSetup(
        dialect=request.broker_dialect,
        services=tuple(request.broker_services) or SERVICES,
        faults=tuple(request.broker_faults),
        proxied=needs_proxy(request.broker_dialect, request.broker_faults),
    )


def load_words(request: Request) -> str:
    """The load in a few words. Runs with the same words are comparable."""
    users = f", {request.locustfile.name}" if request.locustfile else ""
    alive = ", keep-alive" if request.keep_alive else ""
    return (
        f"{request.connections} connections, {request.concurrency} at once, {counted(request.events, 'event')}, "
        f"{request.dwell:g} s, {request.disconnect}, {request.method}{alive}{users}"
    )


def goal_of(request: Request) -> Goal:
    """The load that a request describes."""
    urls = [request.url] if isinstance(request.url, str) else list(request.url)
    return Goal(
        connections=request.connections,
        concurrency=request.concurrency,
        dwell=request.dwell,
        paths=tuple(written_target(fill_port(url, 1)) for url in urls),
        events=request.events,
        disconnect=request.disconnect
        if request.locustfile is None
        else "fin",  # their users leave in their way
        mode=request.mode,
        cycles=request.cycles,
        max_seconds=request.max_time,
        # Faults that were asked for decide when the broker is silent: no cycle silences it beside them.
        broker=request.with_broker and not request.broker_faults,
        invalid=request.invalid_share,
        hold=request.hold if request.locustfile is None and request.mode == "stream" else 0.0,
        retention=retention_of(request),
        search=True,
    )


def retention_of(request: Request) -> float:
    """Seconds for which growth may stay before it is a leak: what was asked, else the budget's for every metric,
    else the default."""
    if request.retention is not None:
        return request.retention
    return request.budget.retain.get("*", RETENTION)


def _budget(request: Request) -> Budget:
    """The budget that the trial is judged by: a retention time that was asked for goes before those of the budget."""
    return request.budget if request.retention is None else replace(request.budget, retain={})


def _runtime(request: Request) -> RuntimeSetup:
    """A service out of reach has no runtime of ours to look at; Go's counters come over HTTP."""
    if request.probe_command is not None and request.runtime in ("auto", "none"):
        return RuntimeSetup("none")
    if request.probe_command is not None and request.runtime != "go":
        raise ConfigError(
            f"--runtime {request.runtime}: not with --probe-command; expected none, or go with --pprof URL"
        )
    return RuntimeSetup(request.runtime, request.pprof)


def _host(url: str) -> str:
    return urlsplit(fill_port(url, 0)).netloc  # 0: a port that no URL may name


def _check(request: Request, urls: list[str]) -> None:
    if not urls:
        raise ConfigError("no --url given; expected http://127.0.0.1:{port}/PATH")
    for url in urls:
        check_url(fill_port(url, 1))
        if _host(url) != _host(urls[0]):
            raise ConfigError(
                f"--url {url!r}: another host or port than {urls[0]!r}; one guard loads one service"
            )
        if "{port}" in url and not request.command:
            raise ConfigError(
                f"--url {url!r}: {{port}} needs a command to give the port to; expected -- COMMAND …"
            )
    for name, more in (("--ready", request.ready), ("--pprof", request.pprof)):
        if more is not None and check_url(fill_port(more, 1), name).unix and name == "--pprof":
            raise ConfigError(f"{name} {more!r}: a Unix socket; expected a TCP address of pprof pages")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if request.nofile is not None and resource.RLIM_INFINITY != hard < request.nofile:
        raise ConfigError(f"--nofile {request.nofile}: above the hard limit of {hard}; expected at most that")
    # What the swarm would refuse once the service runs is refused now.
    HttpRequest(Endpoint.parse(fill_port(urls[0], 1)), request.method, request.headers, request.body)
    if request.ca is not None:
        tls_context(insecure=request.insecure, ca=request.ca)
    statuses(request.expect)
    if not 0 <= request.invalid_share < 1:
        raise ConfigError(
            f"--invalid-share {request.invalid_share}: expected a share from 0 to below 1, such as 0.2"
        )
    if request.locustfile is not None and (request.expect or request.invalid_share or request.clients):
        raise ConfigError(
            f"--swarm {request.locustfile}: its users make their own requests; expected none of --expect, "
            "--invalid-share and --clients with it"
        )
    if request.keep_alive and request.mode != "request":
        raise ConfigError(
            "--keep-alive: a stream has its connection for itself; expected --mode request with it"
        )
    if request.locustfile is not None and not request.locustfile.is_file():
        what = "not a regular file" if request.locustfile.exists() else "no such file"
        raise ConfigError(f"--swarm {request.locustfile}: {what}; expected a locustfile")
    check_amounts(request)
    if request.locustfile is not None and request.processes > 1:
        raise ConfigError(f"--processes {request.processes}: expected 1 with --swarm {request.locustfile}")
    if request.probe_command is not None and request.pid:
        raise ConfigError(f"--pid {request.pid}: not with --probe-command, which names the process itself")
    if request.command and request.pid:
        raise ConfigError(f"--pid {request.pid} and -- {request.command[0]} …: expected one of them")
    if request.pid:
        AttachedTarget(request.pid).stop()
    if not (request.command or request.pid or request.probe_command):
        raise ConfigError(
            "no service given; expected one of -- COMMAND …, --pid PID and --probe-command COMMAND"
        )
    if request.command:
        _check_command(request, request.command[0])
    if request.disconnect not in (*DISCONNECT_MODES, "mixed"):
        modes = ", ".join(DISCONNECT_MODES)
        raise ConfigError(f"--disconnect {request.disconnect!r}: expected mixed or one of {modes}")
    if request.retention is not None and not 0 <= request.retention < float("inf"):
        raise ConfigError(f"--retention {request.retention}: expected a time from 0 on, such as 60s")
    for name, amount in (
        ("sensitivity", request.sensitivity),
        ("max-time", request.max_time),
        ("settle", request.settle),
    ):
        if not amount > 0:
            raise ConfigError(f"--{name} {amount}: expected a number above 0")


def _check_command(request: Request, word: str) -> None:
    """A command that is not there says nothing of the service: refused before anything is started."""
    name = fill_port(word, 1)
    path = (os.environ if request.env is None else request.env).get("PATH")
    there = name if "/" not in name else str(((request.cwd or Path()) / name).absolute())
    if shutil.which(there, path=path):
        return
    what = (
        "cannot be executed"
        if Path(there).exists()
        else "no such command" + ("" if "/" in name else " on PATH")
    )
    hint = "; the words of a command are not quoted together: -- python app.py" if " " in name else ""
    raise ConfigError(
        f"-- {word}: {what}; expected the program that starts the service, and its arguments{hint}"
    )


def redactor_of(request: Request) -> Redactor:
    """Everything secret that a request holds. Raises ConfigError for a pattern that is no regular expression."""
    urls = [request.url] if isinstance(request.url, str) else list(request.url)
    more = [url for url in (request.ready, request.pprof) if url]
    return redactor(
        urls=[*urls, *more],
        command=[
            *(request.command or ()),
            *(probe_argv(request.probe_command) if request.probe_command else ()),
        ],
        headers=request.headers,
        body=request.body,
        secrets=request.secrets,
        patterns=request.redact,
    )


def guard_once(
    request: Request,
    *,
    command: str,
    interrupt: Event | None = None,
    show: Callable[[Progress], None] = lambda _: None,
    steps: Steps | None = None,
    words: Sequence[str] | None = None,
    resume: Resumption | None = None,
    max_size: int = MOST,
) -> Guarded:
    """Run one guard to its end, report included. words: of the command line, for a run that can be resumed. resume: a
    run to go on with. max_size: bytes of its folder.

    Raises ConfigError for a request that makes no sense, StoreError when something cannot be written before the
    verdict. What fails after it is in ``run.failures``. A service that never got ready is a verdict, not an error: it
    says what the service did instead.
    """
    setup = replace(setup_for(request, steps), resumed=resume.trial if resume else None)
    run = Run(
        command=command,
        seed=request.seed,
        out=request.out,
        interrupt=interrupt or Event(),
        show=show,
        redact=redactor_of(request),
        resume=resume,
        max_size=max_size,
    )
    if words is not None and resume is None:
        save_plan(run.directory, words)

    def test_itself(trial: Trial) -> Trial:
        trial, tried = confirmed(trial, goal_of(request))
        return replace(trial, notes=(*trial.notes, *(f"self-test: {one.say()}" for one in tried)))

    try:
        trial = run.trial(setup, test_itself if request.self_test else None)
    except TargetError as error:
        trial = run.failed(setup, str(error), error.advice)
    except BaseException:
        run.directory.close()
        raise
    assert trial.verdict
    return Guarded(trial.verdict, trial, run, run.report())
