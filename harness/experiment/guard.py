"""Guards one service: for `harness guard`, the pytest fixture and a soak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from harness.core.errors import OptionError, TargetError
from harness.core.judge.selftest import confirmed
from harness.core.note import Note, NoteKind
from harness.core.plan import Goal, next_step
from harness.core.record import About, Trial
from harness.core.redact import Redactor
from harness.core.units import counted
from harness.core.verdict import Verdict
from harness.experiment.broker import SERVICES, BrokerSetup, needs_proxy
from harness.experiment.context import Progress
from harness.experiment.exports import open_exports
from harness.experiment.option_checks import check_request
from harness.experiment.options import GuardRequest, ServiceOptions
from harness.experiment.redaction import redactor
from harness.experiment.remote_target import probe_argv
from harness.experiment.resume import Resumption
from harness.experiment.run import Run
from harness.experiment.setup import Steps, TrialSetup
from harness.experiment.target_runtime import RuntimeSetup
from harness.runtime.detect import choose
from harness.store.folder_limit import MAX_BYTES
from harness.store.plan import save_plan
from harness.swarm.load import LoadOptions


@dataclass(frozen=True, slots=True)
class Guarded:
    """A finished guard. report: its report.html, or the run's folder when that could not be written."""

    verdict: Verdict
    trial: Trial
    run: Run
    report: Path


def setup_for(request: GuardRequest, steps: Steps | None = None) -> TrialSetup:
    """The trial that a request describes. Raises ConfigError for options that contradict each other."""
    check_request(request)
    # Only to check the name: the command is looked at when the service starts.
    choose((), request.service.runtime)
    goal = goal_of(request)
    load, judgement = request.load, request.judgement
    if load.locustfile is not None:  # the users of a locustfile make their own requests
        request = replace(request, service=replace(request.service, preflight=False))
    return TrialSetup(
        name=request.output.name,
        request=request,
        steps=steps or (lambda trial: next_step(trial, goal)),
        broker=broker_setup(request.service),
        runtime=_runtime(request.service),
        # A limit of the whole trial, its start included: this is what --max-time promises.
        limit=judgement.max_time,
        about=About(load.mode, load_description(load), judgement.soak, judgement.profile or ""),
    )


def broker_setup(service: ServiceOptions) -> BrokerSetup | None:
    """The broker that the options describe; None without one. Raises ConfigError for options that contradict each
    other."""
    if not service.with_broker:
        for option, given in (
            ("broker_faults", service.broker_faults),
            ("broker_services", service.broker_services),
            ("broker_dialect", () if service.broker_dialect == "plantd" else (service.broker_dialect,)),
        ):
            if given:
                raise OptionError(option, given[0], "there is no broker; expected `with_broker` as well")
        return None
    for name in service.broker_services:
        if not name or name.startswith("mmi."):  # those are the broker's own (MMI, ZeroMQ RFC 8)
            raise OptionError("broker_services", name, "expected a name that is not empty and not mmi.…")
    return BrokerSetup(
        dialect=service.broker_dialect,
        services=tuple(service.broker_services) or SERVICES,
        faults=tuple(service.broker_faults),
        proxied=needs_proxy(service.broker_dialect, service.broker_faults),
    )


def load_description(load: LoadOptions) -> str:
    """The load in one line. Runs with the same description are comparable."""
    users = f", {load.locustfile.name}" if load.locustfile else ""
    alive = ", keep-alive" if load.keep_alive else ""
    return (
        f"{load.connections} connections, {load.concurrency} at once, {counted(load.events, 'event')}, "
        f"{load.dwell:g} s, {load.disconnect}, {load.method}{alive}{users}"
    )


def goal_of(request: GuardRequest) -> Goal:
    """The load that a request describes."""
    load, judgement = request.load, request.judgement
    own_users = load.locustfile is not None
    return Goal(
        connections=load.connections,
        concurrency=load.concurrency,
        dwell=load.dwell,
        paths=request.service.paths,
        events=load.events,
        # The users of a locustfile disconnect in their own way.
        disconnect="fin" if own_users else load.disconnect,
        mode=load.mode,
        cycles=judgement.cycles,
        max_seconds=judgement.max_time,
        # With faults given by the user no cycle silences the broker in addition.
        broker=request.service.with_broker and not request.service.broker_faults,
        invalid=load.invalid_share,
        # A plain request has no time during which it stays connected, and the users of a locustfile disconnect when
        # they want.
        hold=load.hold if not own_users and load.mode == "stream" else 0.0,
        retention=judgement.retain,
        search=True,
    )


def _runtime(service: ServiceOptions) -> RuntimeSetup:
    """The runtime to read. Of a remote service only Go's counters can be read, over HTTP."""
    if service.probe_command is not None and service.runtime in ("auto", "none"):
        return RuntimeSetup("none")
    if service.probe_command is not None and service.runtime != "go":
        raise OptionError(
            "runtime",
            service.runtime,
            "cannot be used with `probe_command`; expected none, or go with `pprof`",
        )
    return RuntimeSetup(service.runtime, service.pprof)


def redactor_of(request: GuardRequest) -> Redactor:
    """Everything secret that a request holds. Raises ConfigError for a pattern that is not a regular expression."""
    service, load, output = request.service, request.load, request.output
    more = [url for url in (service.ready, service.pprof) if url]
    return redactor(
        urls=[*service.urls, *more],
        command=[
            *(service.command or ()),
            *(probe_argv(service.probe_command) if service.probe_command else ()),
        ],
        headers=load.headers,
        body=load.body,
        secrets=output.secrets,
        patterns=output.redact,
    )


def guard_once(
    request: GuardRequest,
    *,
    command: str,
    interrupt: Event | None = None,
    show: Callable[[Progress], None] = lambda _: None,
    steps: Steps | None = None,
    arguments: Sequence[str] | None = None,
    resume: Resumption | None = None,
    max_size: int = MAX_BYTES,
) -> Guarded:
    """Run one guard, report included. arguments: the command line's arguments, for a run that can be resumed. resume: a
    run to continue. max_size: bytes of its folder. Raises ConfigError for an invalid request, StoreError when
    something cannot be written before the verdict; later failures are in ``run.failures``. A service that never became
    ready is a verdict, not an error: it describes what the service did instead."""
    setup = replace(setup_for(request, steps), resumed=resume.trial if resume else None)
    redact, stop = redactor_of(request), interrupt or Event()
    with open_exports(request, redact) as exports:
        run = Run(
            command=command,
            seed=request.load.seed,
            out=request.output.out,
            interrupt=stop,
            show=exports.beside(show),
            redact=redact,
            resume=resume,
            max_size=max_size,
        )
        run.on_change = exports.trial
        exports.begin(run.record.run_id, "soak" if request.judgement.soak else "guard")
        if arguments is not None and resume is None:
            # Saved before the first cycle: everything measured from here on can be resumed.
            save_plan(run.directory, arguments)

        def self_test(trial: Trial) -> Trial:
            trial, tried = confirmed(trial, goal_of(request))
            return replace(
                trial,
                notes=(
                    *trial.notes,
                    *(Note(NoteKind.SELF_TEST, f"self-test: {one.sentence()}") for one in tried),
                ),
            )

        try:
            trial = run.trial(setup, self_test if request.judgement.self_test else None)
        # A service that never became ready is a finding: the run gets a verdict and a report like any other.
        except TargetError as error:
            trial = run.add_failed_trial(setup, str(error), error.advice)
        # ``run.report`` closes the directory otherwise; its lock must not outlive a failed run in the same process.
        except BaseException:
            run.directory.close()
            raise
        assert trial.verdict
        report = run.report()
        # After the report, so that a slow collector does not delay it.
        exports.deliver(stop.is_set)
    run.failures.extend(f"{failure}; the verdict stands" for failure in exports.failures)
    return Guarded(trial.verdict, trial, run, report)
