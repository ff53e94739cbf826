"""Start everything that a trial needs: broker, service, swarm, probe and the reader of its levels."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from harness.core.errors import BrokerError, ProbeError, TargetError
from harness.core.note import NoteKind
from harness.core.record import TargetInfo
from harness.core.units import counted
from harness.experiment.broker import Broker
from harness.experiment.context import Target
from harness.experiment.levels import LevelReader
from harness.experiment.preflight import preflight_paths
from harness.experiment.remote_target import ProbeSampler, RemoteTarget, open_remote_probe
from harness.experiment.service_exit import stop_service, with_peaks
from harness.experiment.target_runtime import TargetRuntime
from harness.experiment.trial_record import TrialRecord
from harness.http.endpoint import Endpoint
from harness.http.route import Router
from harness.probe.remote import RemoteSampler
from harness.probe.sampler import Sampler
from harness.runtime.version import runtime_version
from harness.swarm.launch import Swarm
from harness.swarm.setup import SECRET_VARIABLE, SwarmSetup
from harness.target.attach import AttachedTarget
from harness.target.listening import listens_at
from harness.target.ready import check_free, check_loopback, check_url, exit_error, last_lines, wait_ready
from harness.target.spawn import fill_port, free_port, spawn

EXIT_TIMEOUT = 2.0  # seconds within which a service that dropped its connections is seen to have exited


class ServiceExited(Exception):
    """The service exited after it was ready and before its first reading. The record says how."""


@dataclass(frozen=True, slots=True)
class TrialParts:
    """Everything that a trial works with once all of it has started. broker: None without one."""

    target: Target
    sampler: ProbeSampler
    swarm: Swarm
    runtime: TargetRuntime
    reader: LevelReader
    broker: Broker | None


class TrialStarter:
    """Starts the parts of a trial. stack: stops them again. final_readings: filled with functions that are called in
    order after the last cycle, while everything still runs."""

    def __init__(
        self, record: TrialRecord, stack: ExitStack, final_readings: list[Callable[[], None]]
    ) -> None:
        self.record = record
        self.setup = record.setup
        self.context = record.context
        self.stack = stack
        self.final_readings = final_readings

    def start(self) -> TrialParts:
        """Start all of them. Raises TargetError for a service that never became ready, and ServiceExited for one that
        exited before it could be read."""
        service = self.setup.service
        runtime = TargetRuntime(
            self.setup.runtime,
            snapshot_folder=self.record.directory,
            interrupted=self.context.interrupt.is_set,
        )
        # Chosen before the broker and the service start, because both need it on their command lines.
        port = free_port() if service.command else 0
        url = fill_port(service.url, port)
        endpoint = check_url(url)
        check_loopback(url)
        if service.command:
            check_free(url)
            self.record.show("starting")
        broker = self._start_broker()
        # Registered before the service, so that the folder of its agents is removed only after it has stopped.
        self.stack.callback(runtime.close)
        began = self.context.clock()
        # The harness knows a remote service only through the command that reads it, so that command starts first.
        remote = self._open_remote() if self.setup.probe_command and not service.command else None
        target = self._open_target(remote, runtime, broker, port)
        # Registered at once: if anything below fails, the service is stopped all the same.
        self.stack.callback(self._stop_target, target)
        try:
            # Started before the service is ready: Locust's imports take a second or two, in which the service starts as
            # well.
            swarm = self._start_swarm(url)
            self._wait_ready(target, url, port)
            took = self.context.clock() - began
            sampler: ProbeSampler = remote or self._open_probe(target)
            self.record.note(NoteKind.READY, f"ready after {took:.2f} s", seconds=round(took, 2))
            info = TargetInfo(tuple(service.command or ()) or None, url, sampler.pid, limits=sampler.limits())
            self.record.change(target=info)
            self._wait_for_workers(swarm, sampler)
            if service.preflight:
                self._preflight(target, url)
            self._check_runs_in_foreground(target, endpoint)
            self._open_runtime(runtime, target, info)
            # Connections to a Unix socket are in no TCP table; no connection there has port 0.
            listens_on = 0 if endpoint.unix else endpoint.port
            reader = LevelReader(
                self.setup, self.context, target, sampler, runtime, broker, listens_on, self.record.add
            )
            self._read_initial_levels(reader)
        except ProbeError:
            # The process disappears a moment before its supervisor reports how it exited.
            if not target.wait(EXIT_TIMEOUT):
                raise
            # It exited before its first reading. The verdict reports the exit, not that it could not be read.
            self._check_runs_in_foreground(target, endpoint)
            self.record.record_exit(target)
            raise ServiceExited from None
        return TrialParts(target, sampler, swarm, runtime, reader, broker)

    def _start_broker(self) -> Broker | None:
        setup = self.setup.broker
        if setup is None:
            return None
        broker = Broker.start(
            setup,
            log=self.record.directory / "broker.log",
            seed=self.context.seed,
            clock=self.context.clock,
            cancelled=self.context.interrupt.is_set,
        )
        self.stack.callback(broker.stop)

        def note_findings() -> None:
            """Note the rejected messages and the faults that the broker counted; otherwise only its log has them."""
            if not broker.alive or self.context.interrupt.user.is_set():
                return
            try:
                for text in broker.notes_for_user(faults=bool(setup.faults)):
                    self.record.note(NoteKind.BROKER, text)
            except (BrokerError, KeyError):
                pass  # the verdict does not need it

        self.final_readings.append(note_findings)
        return broker

    def _open_target(
        self, remote: RemoteSampler | None, runtime: TargetRuntime, broker: Broker | None, port: int
    ) -> Target:
        """The service: started here, read through a command, or attached by pid."""
        service = self.setup.service
        if remote is not None:
            return RemoteTarget(remote)
        if not service.command:
            return AttachedTarget(service.pid or 0)
        command = tuple(service.command)
        if broker:
            command = tuple(word.replace("{broker}", broker.endpoint) for word in command)
        inherited = os.environ if service.env is None else service.env
        # The secret of the swarm's workers is not for the service.
        plain = {name: value for name, value in inherited.items() if name != SECRET_VARIABLE}
        return spawn(
            command,
            log=self.record.directory / "target.log",
            port=port,
            env=runtime.environment(command, plain),
            cwd=service.cwd,
            nofile=service.nofile,
        )

    def _stop_target(self, target: Target) -> None:
        service, record = self.setup.service, self.record
        stopped = stop_service(
            target,
            record.directory / "target.log",
            grace=service.grace,
            interrupted=self.context.interrupt.is_set(),
        )
        if not service.command:
            return
        # If the exit is recorded already, the service crashed under load; otherwise the harness has just stopped it.
        if record.trial.exit is None:
            last = tuple(stopped.last_lines)
            about = replace(record.trial.about, stopped_with=stopped.returncode, last_lines=last)
            record.change(about=about)
        if stopped.notes:
            record.change(notes=(*record.trial.notes, *stopped.notes))

    def _start_swarm(self, url: str) -> Swarm:
        load = replace(self.setup.load, seed=self.context.seed)  # every trial of a run has another one
        return self.stack.enter_context(Swarm(SwarmSetup(url, load), self.record.directory / "swarm"))

    def _wait_ready(self, target: Target, url: str, port: int) -> None:
        service, load = self.setup.service, self.setup.load
        wait_ready(
            fill_port(service.ready, port) if service.ready else url,
            target,
            # A service that is slow to start must not use more than --max-time allows for the whole trial.
            timeout=self.record.time_left(service.ready_timeout),
            clock=self.context.clock,
            # Without --ready only the port is checked: a request for a stream would be a client that no ledger counts.
            http_answer=service.ready is not None,
            router=Router(insecure=load.insecure, ca=load.ca),
            listens=lambda: () if self.setup.probe_command else listens_at(target.pid),
            cancelled=self.context.interrupt.is_set,
        )

    def _wait_for_workers(self, swarm: Swarm, sampler: ProbeSampler) -> None:
        """Wait until the swarm can load. Workers on other machines are started by hand, so show that it waits."""
        load = self.setup.load
        if load.remote_workers:
            workers = counted(load.remote_workers, "remote worker")
            self.record.activity = f"waiting for {workers} at {load.bind}"
            self.record.show("starting", sample=sampler.latest())
        swarm.wait_ready(cancelled=self.context.interrupt.is_set)
        self.record.activity = ""

    def _open_probe(self, target: Target) -> ProbeSampler:
        """Start sampling the service here, or through a command beside a service that was started here."""
        if self.setup.probe_command:
            return self._open_remote()
        writer = self.context.directory.samples(self.setup.name)
        self.stack.callback(writer.close)
        sampler = self.stack.enter_context(
            Sampler(
                target.pid,
                clock=self.context.clock,
                interval=self.setup.probe_interval,
                on_sample=writer.write,
                # A service that detaches itself loses its parent, and is then a child of the supervisor.
                adopter=target.supervisor_pid,
            )
        )
        self._keep_peaks(sampler)
        return sampler

    def _open_remote(self) -> RemoteSampler:
        writer = self.context.directory.samples(self.setup.name)
        self.stack.callback(writer.close)
        sampler = self.stack.enter_context(
            open_remote_probe(
                self.setup.probe_command,
                clock=self.context.clock,
                on_sample=writer.write,
                cancelled=self.context.interrupt.is_set,
            )
        )
        self._keep_peaks(sampler)
        return sampler

    def _keep_peaks(self, sampler: ProbeSampler) -> None:
        record = self.record
        self.final_readings.append(
            lambda: record.change(about=with_peaks(record.trial.about, sampler.samples()))
        )

    def _preflight(self, target: Target, url: str) -> None:
        """Request each path once. Raises TargetError for a response that is no stream. A service that drops the
        connection may be exiting because of the request: the first reading then shows the crash."""
        answer = preflight_paths(self.setup, url, interrupted=self.context.interrupt.is_set)
        if answer is None:
            return
        if answer.stalls:
            # The load will show it as well, so waiting once is enough.
            self.record.note(NoteKind.PREFLIGHT, f"preflight: {answer.problem}")
        elif answer.problem and not (answer.status in (None, 200) and target.wait(EXIT_TIMEOUT)):
            raise TargetError(answer.problem + last_lines(target), advice=answer.advice)

    def _check_runs_in_foreground(self, target: Target, endpoint: Endpoint) -> None:
        """Raise TargetError for a command that exited with 0 just after the service began to listen: it started the
        service in the background, and what remains is not the process that would be read."""
        if not target.alive and target.poll() == 0:
            raise exit_error(target, endpoint.place, self.context.clock() - self.record.started)

    def _open_runtime(self, runtime: TargetRuntime, target: Target, info: TargetInfo) -> None:
        record = self.record
        found = runtime.open(target.pid, info.url)
        version = runtime_version(runtime.choice)
        about = replace(record.trial.about, runtime_version=version) if version else record.trial.about
        limits = {**info.limits, **runtime.limits}
        record.change(target=replace(info, runtime=runtime.choice.language, limits=limits), about=about)
        record.change(notes=(*record.trial.notes, found))

    def _read_initial_levels(self, reader: LevelReader) -> None:
        """Record the levels before the first client: of a resumed trial, as those of the new process."""
        initial, trial = reader.initial(), self.record.trial
        if trial.restarts and self.setup.resumed:
            *before, last = trial.restarts
            self.record.change(restarts=(*before, replace(last, initial=initial)))
        else:
            self.record.change(initial=initial)
