"""Run one trial: start everything, one cycle after another, stop everything, keep what was seen."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import replace

from harness.core import design
from harness.core.after_verdict import failure
from harness.core.cycle import CycleSpec, Ledger, Observation, Phase, Reading
from harness.core.errors import (
    BrokerError,
    HarnessError,
    Interrupted,
    KeeperLost,
    ProbeError,
    SwarmError,
    TargetError,
)
from harness.core.judge.attribution import attribution_cycle, units
from harness.core.judge.trial import suspicion
from harness.core.note import Note, NoteKind
from harness.core.plan import LONGEST_SEARCH, Search, Stop
from harness.core.record import TargetInfo, Trial
from harness.core.units import counted
from harness.experiment import end
from harness.experiment.broker import Broker
from harness.experiment.context import Progress, Target, TrialContext
from harness.experiment.levels import LevelReader
from harness.experiment.load import open_swarm
from harness.experiment.preflight import preflight_paths
from harness.experiment.refusing import Refusing
from harness.experiment.remote_target import RemoteTarget, Watching, open_remote_probe
from harness.experiment.setup import TrialSetup
from harness.experiment.target_runtime import TargetRuntime
from harness.http.route import Router
from harness.probe.remote import RemoteSampler
from harness.probe.sampler import Sampler
from harness.runtime.counters import SearchOver
from harness.runtime.version import runtime_version
from harness.store.logs import set_aside
from harness.store.tidy import mib
from harness.swarm.setup import SECRET
from harness.target.attach import AttachedTarget
from harness.target.listening import listens_at
from harness.target.loopback import check_loopback
from harness.target.ready import check_free, check_url, ended, keeper_lost, last_words, wait_ready
from harness.target.spawn import fill_port, free_port, spawn

SEARCH = "the search for its place in the source"
LAST_QUESTIONS = 1.5  # times as long as the first of a search: they describe what has grown
LEAST_SEARCH = 2.0  # seconds of load in a search, however long its first questions took
READ_EVERY = 0.5  # seconds between two readings while clients stay connected
MOST_READINGS = 40  # of one hold cycle
FEWEST_READINGS = 8  # of one, however long each takes
REST = 3.0  # times as long as the last reading took: counting a large heap holds the service up
LOGS = ("target.log", "broker.log", "swarm/swarm.log")
EXIT_TIMEOUT = 2.0  # a service whose connections all break at once is given so long to be seen dead


class TrialRunner:
    """One trial under way. ``run`` never raises for what happens to the service; that is data."""

    def __init__(self, setup: TrialSetup, context: TrialContext) -> None:
        self.setup = setup
        self.context = context
        resumed = setup.resumed
        self.started = resumed.started if resumed else context.clock()
        self.connections = sum(o.ledger.opened for o in resumed.observations) if resumed else 0
        self.refusing = Refusing()
        self.silent = False  # the broker
        self.doing = ""  # beside the phase, for who watches
        self._read_until = 0.0  # when the last reading with clients connected was complete
        self.during = ""  # the step in progress, for the record of a crash
        self.search_ends = math.inf  # when the load of the search for the place is cut short
        self.directory = context.directory.trial_dir(setup.name)
        self.runtime = TargetRuntime(setup.runtime, keep=self.directory, interrupted=context.interrupt.is_set)
        self.trial = resumed or Trial(
            name=setup.name,
            target=TargetInfo(setup.service.command, setup.service.url, setup.service.pid or 0),
            budget=setup.judgement.allowed,
            sensitivity=setup.judgement.sensitivity,
            retention=setup.judgement.retain,
            started=self.started,
            notes=setup.judgement.budget_notes,
            about=setup.about,
        )
        if resumed:
            set_aside(self.directory, LOGS)

    def run(self) -> Trial:
        """The whole trial. Raises TargetError for a service that never got ready and ConfigError
        for a request that makes no sense; a failure of ours ends it with ``infrastructure`` set."""
        with ExitStack() as stack:
            try:
                self._start(stack)
                self._cycles()
                self._find_place()
            except Interrupted as error:
                if self.context.interrupt.time_up:
                    self._time_up()
                    self._tell(NoteKind.CANCELLED, str(error))
            except (BrokerError, SwarmError, KeeperLost) as error:
                self._failed(error)
            except ProbeError as error:
                # Gone before its first reading: its death is the finding, not our blindness.
                if not hasattr(self, "target") or self.target.alive:
                    self._note(infrastructure=str(error))
                else:
                    self._check_stays()
                    self._died()
            self._hear_broker()
            samples = self.sampler.samples() if hasattr(self, "sampler") else []
            self._note(
                about=end.with_peaks(self.trial.about, samples),
                ended=self.context.clock(),
                interrupted=self.context.interrupt.user.is_set(),
            )
        return self.trial

    def _hear_broker(self) -> None:
        """What the broker saw of peers and faults, as notes: on its own it would only stand in its log."""
        broker: Broker | None = getattr(self, "broker", None)
        if broker is None or not broker.alive or self.context.interrupt.user.is_set():
            return
        try:
            for note in broker.said(faults=bool(self.setup.broker and self.setup.broker.faults)):
                self._tell(NoteKind.BROKER, note)
        except (BrokerError, KeyError):
            pass  # the verdict does not need it

    def _time_up(self) -> None:
        seconds = self.setup.judgement.max_time if self.setup.limit is None else self.setup.limit
        self._tell(NoteKind.STOPPED, f"stopped: {seconds:g} s are used up")

    def _failed(self, error: HarnessError) -> None:
        """A part of ours. It may only have been too slow to break off, on a machine that is busy: then why it was to
        is the finding."""
        if self.context.interrupt.is_set():
            self._tell(NoteKind.CANCELLED, str(error))
            if self.context.interrupt.time_up:
                self._time_up()
            return
        slow = isinstance(error, SwarmError) and hasattr(self, "reader")
        if slow and not self.target.alive and self.trial.exit is None:
            self._died()
        self._note(infrastructure=str(error))

    def _note(self, **changes: object) -> None:
        self.trial = replace(self.trial, **changes)  # type: ignore[arg-type]
        self.context.keep(self.trial)

    def _tell(self, kind: NoteKind, text: str, **data: object) -> None:
        self._add(Note(kind, text, data))

    def _add(self, note: Note) -> None:
        if note not in self.trial.notes:
            self._note(notes=(*self.trial.notes, note))

    def _show(self, phase: str, cycle: int = 0, ledger: Ledger | None = None) -> None:
        sample = self.sampler.latest() if hasattr(self, "sampler") else None
        self.context.show(
            Progress(
                self.setup.name,
                self.context.clock() - self.started,
                phase,
                cycle,
                self.connections + (ledger.opened if ledger else 0),
                sample,
                self.doing,
                ledger,
            )
        )

    def _start(self, stack: ExitStack) -> None:
        setup, service = self.setup, self.setup.service
        self.broker: Broker | None = None
        port = free_port() if service.command else 0
        url = fill_port(service.url, port)
        self.endpoint = check_url(url)
        check_loopback(url)
        if service.command:
            check_free(url)
            self._show("starting")
        command = tuple(service.command or ())
        if setup.broker:
            self.broker = Broker.start(
                setup.broker,
                log=self.directory / "broker.log",
                seed=self.context.seed,
                clock=self.context.clock,
                cancelled=self.context.interrupt.is_set,
            )
            stack.callback(self.broker.stop)
            command = tuple(word.replace("{broker}", self.broker.endpoint) for word in command)
        log = self.directory / "target.log"
        stack.callback(self.runtime.close)
        began = self.context.clock()
        if service.command:
            inherited = os.environ if service.env is None else service.env
            # What the workers of the swarm must know is none of the service's business.
            plain = {name: value for name, value in inherited.items() if name != SECRET}
            env = self.runtime.environment(command, plain)
            self.target: Target = spawn(
                command, log=log, port=port, env=env, cwd=service.cwd, nofile=service.nofile
            )
        elif setup.probe_command:
            far = self._open_far(stack)
            self.target = RemoteTarget(far)
        else:
            self.target = AttachedTarget(service.pid or 0)
        stack.callback(self._stop_target)
        self.swarm = stack.enter_context(
            open_swarm(setup.load, url, self.directory / "swarm", seed=self.context.seed)
        )
        wait_ready(
            fill_port(service.ready, port) if service.ready else url,
            self.target,
            timeout=self._at_most(service.ready_timeout),
            clock=self.context.clock,
            http_answer=service.ready is not None,
            router=Router(insecure=setup.load.insecure, ca=setup.load.ca),
            listens=lambda: () if setup.probe_command else listens_at(self.target.pid),
            cancelled=self.context.interrupt.is_set,
        )
        took = self.context.clock() - began
        if not hasattr(self, "sampler"):
            self._open_probe(stack)
        ready = Note(NoteKind.READY, f"ready after {took:.2f} s", {"seconds": round(took, 2)})
        info = TargetInfo(command or None, url, self.sampler.pid, limits=self.sampler.limits())
        self._note(target=info, notes=(*self.trial.notes, ready))
        self._gather()
        if service.preflight:
            self._look(url)
        self._check_stays()
        said = self.runtime.open(self.target.pid, url)
        info = replace(info, runtime=self.runtime.choice.language)
        version = runtime_version(self.runtime.choice)
        about = replace(self.trial.about, runtime_version=version) if version else self.trial.about
        self._note(target=info, notes=(*self.trial.notes, said), about=about)
        # Port 0 is nobody's: connections to a Unix socket are in no table of TCP.
        listens_on = 0 if self.endpoint.unix else self.endpoint.port
        self.reader = LevelReader(
            setup, self.context, self.target, self.sampler, self.runtime, self.broker, listens_on, self._add
        )
        initial = self.reader.initial()
        if self.trial.restarts and self.setup.resumed:
            *before, last = self.trial.restarts
            self._note(restarts=(*before, replace(last, initial=initial)))
        else:
            self._note(initial=initial)

    def _gather(self) -> None:
        """Wait for the swarm, and say for whom: workers of other machines are started by hand."""
        load = self.setup.load
        if load.remote_workers:
            workers = counted(load.remote_workers, "remote worker")
            self.doing = f"waiting for {workers} at {load.bind}"
            self._show("starting")
        self.swarm.wait_ready(cancelled=self.context.interrupt.is_set)
        self.doing = ""

    def _at_most(self, seconds: float) -> float:
        """``seconds``, or what is left until the limit of the whole trial."""
        if self.setup.limit is None:
            return seconds
        return max(0.0, min(seconds, self.started + self.setup.limit - self.context.clock()))

    def _check_stays(self) -> None:
        """A parent may end a moment after its forked child has begun to listen: it was never ready."""
        if not hasattr(self, "reader") and not self.target.alive and self.target.poll() == 0:
            raise ended(self.target, self.endpoint.place, self.context.clock() - self.started)

    def _open_probe(self, stack: ExitStack) -> None:
        if self.setup.probe_command:
            self._open_far(stack)
            return
        writer = self.context.directory.samples(self.setup.name)
        stack.callback(writer.close)
        self.sampler: Watching = stack.enter_context(
            Sampler(
                self.target.pid,
                clock=self.context.clock,
                interval=self.setup.probe_interval,
                on_sample=writer.write,
                adopter=self.target.keeper_pid,
            )
        )

    def _open_far(self, stack: ExitStack) -> RemoteSampler:
        writer = self.context.directory.samples(self.setup.name)
        stack.callback(writer.close)
        far = open_remote_probe(
            self.setup.probe_command,
            clock=self.context.clock,
            on_sample=writer.write,
            cancelled=self.context.interrupt.is_set,
        )
        self.sampler = stack.enter_context(far)
        return far

    def _stop_target(self) -> None:
        service, hurried = self.setup.service, self.context.interrupt.is_set()
        seen = end.stop(self.target, self.directory / "target.log", grace=service.grace, interrupted=hurried)
        if not service.command:
            return
        if self.trial.exit is None:
            about = replace(self.trial.about, stopped_with=seen.returncode, last_words=tuple(seen.last_words))
            self._note(about=about)
        if seen.notes:
            self._note(notes=(*self.trial.notes, *seen.notes))

    def _look(self, url: str) -> None:
        """What is wrong with the stream; who broke off may be dying of the question, which is a crash."""
        seen = preflight_paths(self.setup, url, interrupted=self.context.interrupt.is_set)
        if seen and seen.stalls:
            # The load will tell; waiting once is enough.
            self._tell(NoteKind.PREFLIGHT, f"preflight: {seen.problem}")
        elif seen and seen.problem and not (seen.status in (None, 200) and self.target.wait(EXIT_TIMEOUT)):
            raise TargetError(seen.problem + last_words(self.target), advice=seen.advice)

    def _cycles(self) -> None:
        deadline = self.context.clock() + self._at_most(self.setup.judgement.max_time)
        while not self.context.interrupt.user.is_set():
            if self.context.clock() >= deadline:
                self._time_up()
                return
            step = self.setup.steps(self.trial)
            if isinstance(step, Stop):
                # What follows only looks for the places in the source where it grows.
                after = design.elapsed(self.trial)
                text = f"stopped: {step.reason}; {after:.1f} s after the first cycle began"
                self._tell(NoteKind.STOPPED, text, reason=step.reason)
                return
            self.doing = suspicion(self.trial)
            if isinstance(step, Search):
                self._find_place()
                self.doing = ""
                continue
            self._flap(step)
            self._note(observations=(*self.trial.observations, self._cycle(step)))
            if self._folder_is_full():
                return
            if self.refusing.reason:
                self._tell(NoteKind.LOAD_STOPPED, f"stopped loading: {self.refusing.reason}")
                if not suspicion(self.trial):
                    return
                self.refusing = Refusing()  # what was retained until then is watched without clients
            if not self.target.alive or not self.trial.observations[-1].complete:
                if self.context.interrupt.time_up:
                    self._time_up()
                return

    def _folder_is_full(self) -> bool:
        """Keep the run's folder small; True when it is at its limit with nothing left to leave out."""
        tidy = self.context.tidy
        if tidy is None:
            return False
        for text in tidy.look(self.context.clock()):
            self._tell(NoteKind.FOLDER_LIMIT, text)
        if tidy.full:
            self._tell(
                NoteKind.STOPPED,
                f"stopped: the folder holds more than its limit of {mib(tidy.most)}; a soak takes a higher --max-size",
            )
        return tidy.full

    def _flap(self, step: CycleSpec) -> None:
        """Put the broker into the state this cycle wants."""
        if not self.broker or not self.setup.broker:
            return
        silent = self.setup.broker.silent_in(step)
        if silent is not self.silent:
            (self.broker.fall_silent if silent else self.broker.resume)()
            self.silent = silent

    def _cycle(self, step: CycleSpec) -> Observation:
        started = self.context.clock()
        phase = step.phase.value
        self.during = f"cycle {step.index} ({SEARCH if self.doing else phase})"

        connected: list[Reading] = []
        self.refusing.begin()

        def progress(ledger: Ledger) -> None:
            self._show(phase, step.index, ledger)
            self.refusing.feed(self.context.clock(), step, ledger)
            if step.phase is Phase.HOLD:
                self._hold(step, ledger, started, connected)

        ledger = self.swarm.cycle(
            step,
            progress=progress,
            cancelled=lambda: (
                self.context.interrupt.is_set()
                or not self.target.alive
                or bool(self.refusing.reason)
                or self.context.clock() > self.search_ends
            ),
            hurried=self.context.interrupt.is_set,
        )
        load_ended = self.context.clock()
        self.refusing.feed(load_ended, step, ledger)
        self.refusing.end(ledger)
        if ledger.failed and step.phase is not Phase.IDLE:
            self.target.wait(EXIT_TIMEOUT if ledger.failed * 2 > ledger.opened else 0.05)
        self._show(phase, step.index, ledger)
        self.connections += ledger.opened
        if not self.target.alive:
            self._died()
            return Observation(
                step, ledger, {}, started, self.context.clock(), load_ended, settled=False, complete=False
            )
        if step.phase is Phase.RETENTION:
            quiet = self.reader.now(started)
        else:
            quiet = self.reader.settle(lambda: self._show("quiet", step.index))
        seen = self.reader.observe(step, ledger, quiet, started, load_ended)
        if connected:
            seen = replace(seen, connected=tuple(connected))
        if not self.target.alive:
            self._died()
        return seen

    def _find_place(self) -> None:
        """The verdict is certain by now: a failure of the search is a note beside it. If the service dies meanwhile, it
        has crashed, whichever question it was asked last."""
        try:
            self._attribute()
        except Interrupted:
            raise
        except Exception as error:
            self._tell(NoteKind.STEP_FAILED, failure(SEARCH, error))
        if self.doing and self.context.interrupt.time_up:
            self._time_up()
        # Nobody has stopped it yet: it may have exited during the search, or between two cycles.
        if self.trial.exit is None and self.trial.infrastructure is None and not self.target.alive:
            self._died()

    def _hold(self, step: CycleSpec, ledger: Ledger, started: float, connected: list[Reading]) -> None:
        """Read the levels now and then while all clients are connected, and not once they are about to leave."""
        now = self.context.clock()
        last = connected[-1].at if connected else started
        took = self._read_until - last if connected else 0.0
        rest = max(0.0, min(REST * took, step.dwell / FEWEST_READINGS - took))
        due = max(READ_EVERY, step.dwell / MOST_READINGS, took + rest)
        if ledger.open_now < step.connections or now - last < due or now - started > step.dwell - 0.1:
            return
        if reading := self.reader.connected():
            connected.append(replace(reading, events=ledger.events))
            self._read_until = self.context.clock()

    def _attribute(self) -> None:
        """Where it grows, over a few further cycles that are not judged: only once a leak is certain."""
        if self.trial.searched:
            return
        self._note(searched=True)
        if self.context.interrupt.is_set() or not self.target.alive or self.runtime.reader is None:
            return
        chosen = attribution_cycle(self.trial)
        if chosen is None:
            return
        step, per = chosen
        self.doing = "looking for its place in the source"
        self._about_to_search()
        self._show("tracing", len(self.trial.observations))

        began = self.context.clock()
        self.search_ends = over = began + self._at_most(LONGEST_SEARCH)
        longest = 0.0
        asked = began  # when the questions before the next cycle began

        def cycle() -> float:
            nonlocal longest, asked
            started = self.context.clock()
            if not longest:
                # The last questions take longer than the first. Some load is needed to show anything at all.
                reserved = LAST_QUESTIONS * (started - began)
                self.search_ends = max(started + LEAST_SEARCH, self.search_ends - reserved)
            elif started + longest + (started - asked) > self.search_ends:
                raise SearchOver(f"another cycle would have exceeded the {LONGEST_SEARCH:g} s of the search")
            self._flap(step)
            seen = self._cycle(replace(step, index=len(self.trial.observations)))
            self._note(observations=(*self.trial.observations, seen))
            self._about_to_search()
            if self.context.interrupt.is_set():
                raise Interrupted("stopped during the search for its place")
            if not seen.complete:
                raise ProbeError("the cycle was cut short")
            if not seen.settled:
                raise SearchOver("the service did not settle, so what is alive is not yet what it retains")
            asked = self.context.clock()
            longest = max(longest, asked - started)
            return units(seen.ledger, per, self.context.clock() - started)

        found = self.runtime.attribute(
            cycle, per, stays=not self.target.logs, left=lambda: over - self.context.clock()
        )
        self.search_ends = math.inf
        took = round(self.context.clock() - began, 1)
        self._note(places=found, about=replace(self.trial.about, search_seconds=took))

    def _about_to_search(self) -> None:
        """Between two cycles of the search its agents are asked: that belongs to the cycle that comes next."""
        self.during = f"cycle {len(self.trial.observations)} ({SEARCH})"

    def _died(self) -> None:
        if self.target.lost:
            if not self.context.interrupt.is_set():
                self._note(infrastructure=str(keeper_lost(self.target.lost)))
            return
        at = self.context.clock() - self.started
        cwd = self.setup.service.cwd
        died = end.death(self.target, at=at, connections=self.connections, during=self.during, cwd=cwd)
        self._note(exit=died)
