"""Decisions between two readings, without a service: idle, connected, and the end of a trial."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.core.cycle import CycleSpec, Observation
from harness.core.errors import ProbeError, SwarmError, TargetError
from harness.core.metric import Key
from harness.core.note import NoteKind
from harness.core.plan import Stop
from harness.core.record import Places
from harness.core.sample import Census, Sample
from harness.experiment.context import TrialContext
from harness.experiment.levels import MAX_EVENTS, LevelReader
from harness.experiment.options import with_options
from harness.experiment.place_search import SEARCH
from harness.experiment.remote_target import ProbeSampler
from harness.experiment.reproduce import LoadOverrides, describe, setup_for
from harness.experiment.settle import SettleResult, cores_used
from harness.experiment.stop_signal import StopSignal
from harness.experiment.trial import RunningTrial
from harness.experiment.trial_record import TrialRecord
from harness.experiment.trial_start import ServiceExited, TrialStarter
from harness.runtime.counters import run_cycles
from harness.store.folder_limit import FolderLimit
from harness.store.run_dir import RunDirectory
from tests.core.series import observation
from tests.core.series import trial as series


def reading(at: float, cpu: float | None) -> Sample:
    return Sample(at, cpu=cpu)


@pytest.mark.parametrize(
    ("seen", "cores"),
    [
        ([(0.0, 1.0), (1.0, 1.25)], 0.25),
        ([(0.5, 1.0), (1.0, 1.25)], 0.5),  # half of the window is enough
        ([(0.51, 1.0), (1.0, 1.25)], None),  # less is not: one tick would look like a busy core
        ([(1.0, 1.25)], None),
        ([(0.0, 0.0), (1.0, 5.0), (2.0, 5.5)], 0.5),  # only the last window counts
        ([(0.99, 0.0), (1.0, 5.0), (2.0, 5.5)], 0.5),
        ([(0.0, 1.0), (1.0, 0.5)], 0.0),
        ([(0.0, None), (1.0, 0.5)], None),
        ([(0.0, 0.5), (1.0, None)], None),
    ],
)
def test_idle_cpu_needs_half_of_its_window(
    seen: list[tuple[float, float | None]], cores: float | None
) -> None:
    assert cores_used([reading(*one) for one in seen], 1.0) == (
        None if cores is None else pytest.approx(cores)
    )


def result(**more: Any) -> SettleResult:
    return SettleResult(
        **{"settled": True, "moving": "", "level": {"fds": 5.0, "inbound": 1.0}, "close_lag": 0.0, **more}
    )


def test_the_levels_of_a_settled_service() -> None:
    assert result(settled=False).levels(Census(0.0, fds={"file": 9})) == {}
    assert result().levels() == {Key("fds"): 5.0}, "clients are not a level"
    assert result(idle_cpu=0.25).levels()[Key("idle-cpu")] == 0.25
    one = Census(0.0, fds={"file": 9}, processes=1)
    assert result().levels(one)[Key("fds")] == 9.0
    assert result(fluctuating=True).levels(one)[Key("fds")] == 5.0
    blind = Census(0.0, unreadable=("fds of pid 1: x",), processes=1)
    assert result().levels(blind, one)[Key("fds", "file")] == 9.0, "what was not read is not a zero"
    other = Census(0.0, fds={"pipe": 2}, processes=1)
    assert result().levels(other, one)[Key("fds", "file")] == 0.0, "a class that was not met is one"


def reader(inbound: int | None = 3, **more: Any) -> tuple[Any, list[int]]:
    """A reader whose kernel answers ``inbound``, and the ports that were requested."""
    asked: list[int] = []
    sampler = SimpleNamespace(
        inbound=lambda port: asked.append(port) or inbound, samples=list, latest=lambda: Sample(0.0)
    )
    parts = {
        "setup": SimpleNamespace(judgement=SimpleNamespace(settle=0.5, settle_timeout=60.0)),
        "context": SimpleNamespace(interrupt=threading.Event()),
        "target": SimpleNamespace(alive=True),
        "sampler": sampler,
        "runtime": None,
        "broker": None,
        "port": 80,
        "add_note": lambda note: None,
        **more,
    }
    return LevelReader(**parts), asked


@pytest.mark.parametrize(
    ("looks", "asked"),
    [
        ([Census(0.0, fds={"file": 3, "tcp-out:80": 1})], False),
        ([Census(0.0, fds={"file": 3, "tcp-in": 1})], True),
        ([Census(0.0, fds={"unclassified": 3})], True),  # a client may be among them
        ([Census(0.0)], True),
        ([], True),
    ],
)
def test_the_kernel_is_asked_for_clients_unless_the_census_excludes_them(
    looks: list[Census], asked: bool
) -> None:
    for inbound, connected in ((3, True), (0, False), (None, True)):
        one, ports = reader(inbound)
        assert one._clients_connected(looks) is (asked and connected)
        assert ports == ([80] if asked else [])


def test_a_service_that_exited_and_a_run_that_stops_have_no_clients() -> None:
    one, asked = reader(target=SimpleNamespace(alive=False))
    assert not one._clients_connected([])
    one, asked_too = reader()
    one.context.interrupt.set()
    assert not one._clients_connected([])
    assert asked == asked_too == []


def test_only_processes_that_were_there_before_are_events() -> None:
    samples = [
        Sample(0.5, events=("pid 1 (old) ended",)),
        Sample(1.0, events=("pid 12 started", "pid 12 (true) ended", "pid 123 (worker) ended")),
        Sample(2.0, events=tuple(f"pid {n} (x) ended" for n in range(500, 530))),
    ]
    one, _ = reader(sampler=SimpleNamespace(samples=lambda: samples, latest=lambda: samples[0]))
    found = one._events(1.0)
    assert found[0] == "pid 123 (worker) ended"
    assert len(found) == MAX_EVENTS == 20


# -- the cycles of a trial

PlayedCycle = Callable[[RunningTrial, CycleSpec, float], Observation]
"""Called instead of a cycle, with the trial, the cycle and the moment at which its load is cut short."""


def running(
    tmp_path: Path,
    cycle: PlayedCycle,
    *,
    limit: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    runtime: object = None,
    **options: Any,
) -> RunningTrial:
    """A trial in progress whose cycles are played by ``cycle``."""
    setup = setup_for(describe()["fixed"], LoadOverrides())
    setup = replace(
        setup, request=with_options(setup.request, **options), broker=None, steps=steps, limit=limit
    )
    directory, halt = (
        RunDirectory.create(tmp_path / "run", "run"),
        StopSignal(threading.Event(), time.monotonic, None),
    )
    record = TrialRecord(setup, TrialContext(clock, directory, halt, seed=1))
    parts: Any = SimpleNamespace(
        target=SimpleNamespace(alive=True, logs=True, lost=""),
        sampler=SimpleNamespace(latest=lambda: Sample(0.0)),
        runtime=runtime,
    )
    made = RunningTrial(record, parts)

    def play(step: CycleSpec, *, load_until: float = math.inf, label: str = "") -> Observation:
        record.step = label or step.phase.value
        return cycle(made, step, load_until)

    made.cycles.run = play  # type: ignore[method-assign]
    return made


def steps(trial: Any) -> CycleSpec | Stop:
    done = len(trial.observations)
    return CycleSpec(done, 1, 1, 1.0) if done < 5 else Stop("enough")


def kinds(one: RunningTrial) -> list[NoteKind]:
    return [note.kind for note in one.record.trial.notes]


@pytest.mark.parametrize("cut", [None, 0, 2])
def test_a_cycle_that_was_cut_short_is_the_last(cut: int | None, tmp_path: Path) -> None:
    def cycle(_: RunningTrial, step: CycleSpec, __: float) -> Observation:
        return observation(step.index, {}, complete=step.index != cut)

    one = running(tmp_path, cycle)
    one.run_cycles()
    assert len(one.record.trial.observations) == (5 if cut is None else cut + 1)
    assert any("stopped: enough" in note.text for note in one.record.trial.notes) is (cut is None)


def test_a_service_that_exits_ends_the_cycles(tmp_path: Path) -> None:
    def cycle(self: RunningTrial, step: CycleSpec, _: float) -> Observation:
        self.parts.target.alive = step.index != 1  # type: ignore[misc]
        return observation(step.index, {})

    one = running(tmp_path, cycle)
    one.run_cycles()
    assert len(one.record.trial.observations) == 2


def test_a_folder_at_its_limit_ends_the_cycles_and_names_what_was_left_out(tmp_path: Path) -> None:
    def cycle(self: RunningTrial, step: CycleSpec, _: float) -> Observation:
        (self.record.directory / "target.log").write_bytes(b"x" * (3 << 20))
        if step.index == 2:
            (self.record.directory / "core").write_bytes(b"x" * (3 << 20))
        return observation(step.index, {})

    one = running(tmp_path, cycle)
    one.record.context.folder_limit = FolderLimit(one.record.context.directory, 2 << 20)
    one.run_cycles()
    assert len(one.record.trial.observations) == 3
    assert tuple(note.text for note in one.record.trial.notes[-2:]) == (
        "the folder reached its limit of 2 MiB: fixed/target.log was cut to its tail",
        "stopped: the folder holds more than its limit of 2 MiB; a soak takes a higher --max-size",
    )
    assert kinds(one)[-2:] == [NoteKind.FOLDER_LIMIT, NoteKind.STOPPED]


def test_an_interrupt_ends_the_cycles(tmp_path: Path) -> None:
    def cycle(self: RunningTrial, step: CycleSpec, _: float) -> Observation:
        if step.index == 1:
            self.record.context.interrupt.user.set()
        return observation(step.index, {})

    one = running(tmp_path, cycle)
    one.run_cycles()
    assert len(one.record.trial.observations) == 2


def test_the_time_given_ends_the_cycles_and_is_noted(tmp_path: Path) -> None:
    one = running(tmp_path, lambda _, step, __: observation(step.index, {}), max_time=0.0)
    one.run_cycles()
    assert one.record.trial.observations == ()
    assert any("time limit of 0 s was reached" in note.text for note in one.record.trial.notes)


@pytest.mark.parametrize(("alive", "interrupted"), [(True, False), (False, False), (False, True)])
def test_a_swarm_that_fails_because_the_service_exited_leaves_a_crash(
    alive: bool, interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit is recorded beside the failure; what stops after an interruption is no crash."""
    recorded: list[object] = []
    monkeypatch.setattr(TrialRecord, "record_exit", lambda _, target: recorded.append(target))

    def cycle(self: RunningTrial, _: CycleSpec, __: float) -> Observation:
        self.parts.target.alive = alive  # type: ignore[misc]
        if interrupted:
            self.record.context.interrupt.user.set()
        raise SwarmError("the swarm exited")

    one = running(tmp_path, cycle)
    with pytest.raises(SwarmError, match="the swarm exited"):
        one.run()
    assert bool(recorded) is (not alive and not interrupted)


@pytest.mark.parametrize("exited", [True, False])
def test_a_service_that_cannot_be_read_because_it_exited_has_crashed(
    exited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit is reported a moment after its process is gone, so that it still counts as alive."""
    recorded: list[object] = []
    monkeypatch.setattr(TrialRecord, "record_exit", lambda _, target: recorded.append(target))

    def cycle(self: RunningTrial, _: CycleSpec, __: float) -> Observation:
        raise ProbeError("no reading")

    one = running(tmp_path, cycle)
    one.parts.target.wait = lambda timeout: exited and timeout > 0  # type: ignore[method-assign]
    with contextlib.nullcontext() if exited else pytest.raises(ProbeError):
        one.run()
    assert bool(recorded) is exited


@pytest.mark.parametrize(
    ("exited", "code", "error"),
    [(True, 0, TargetError), (True, -9, ServiceExited), (False, None, ProbeError)],
)
def test_a_service_that_exits_before_its_first_reading_is_the_finding(
    exited: bool, code: int | None, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that forks into the background was once reported as "no such process", a failure of the harness."""
    recorded: list[object] = []
    monkeypatch.setattr(TrialRecord, "record_exit", lambda _, target: recorded.append(target))
    reported: list[bool] = []  # its exit, by its supervisor

    class Late:
        logs, lost = ("log",), ""

        @property
        def alive(self) -> bool:
            return not reported

        def wait(self, timeout: float) -> bool:
            if exited and timeout > 0:
                reported.append(True)
            return bool(reported)

        def poll(self) -> int | None:
            return code if reported else None

        def tail(self, lines: int = 20) -> tuple[str, ...]:
            return ()

    def unreadable(*_: object) -> ProbeSampler:
        raise ProbeError("no such process")

    record = running(tmp_path, lambda *_: observation(0, {})).record
    with contextlib.ExitStack() as stack:
        starter = TrialStarter(record, stack, [])
        monkeypatch.setattr(starter, "_open_target", lambda *_: Late())
        for name in ("_start_swarm", "_wait_ready", "_stop_target"):
            monkeypatch.setattr(starter, name, lambda *_: None)
        monkeypatch.setattr(starter, "_open_probe", unreadable)
        with pytest.raises(error, match="forked into the background" if code == 0 else None):
            starter.start()
    assert bool(recorded) is (error is ServiceExited)


@pytest.mark.parametrize(
    ("ask", "load", "limit", "cycles", "longest"),
    [
        (0.5, 3.0, None, 3, 20.0),  # as planned
        (4.0, 9.0, None, 1, 20.0),  # another cycle and the last readings would not fit
        (7.0, 60.0, None, 1, 20.0),  # the load is cut short, so that the last readings fit
        (0.5, 3.0, 10.0, 2, 10.0),  # little is left of --max-time: 2 s of it are for the service to settle
        (15.0, 3.0, None, 1, 20.0 + 12.0),  # a service that answers so slowly is loaded for 2 s all the same
    ],
)
def test_the_search_for_the_place_takes_20_seconds_at_most(
    ask: float, load: float, limit: float | None, cycles: int, longest: float, tmp_path: Path
) -> None:
    """ask: seconds of the readings before the first cycle, and again after the last. load: seconds of one cycle."""
    now = [100.0]
    labels: list[str] = []

    def cycle(self: RunningTrial, step: CycleSpec, load_until: float) -> Observation:
        labels.append(self.record.step)
        now[0] = min(now[0] + load, load_until)  # as the swarm does, which is cancelled once the time is over
        return observation(step.index, {})

    ran: list[float] = []

    def attribute(
        run: Callable[[], float], per: str, *, keeps_running: bool, time_left: Callable[[], float]
    ) -> Places:
        assert time_left() == pytest.approx(min(20.0, limit or math.inf))
        now[0] += ask
        counted, stopped = run_cycles(run, 3)
        ran.extend(counted)
        now[0] += ask
        return Places(notes=stopped)

    one = running(
        tmp_path,
        cycle,
        limit=None if limit is None else limit + 100.0,
        clock=lambda: now[0],
        runtime=SimpleNamespace(attribute=attribute, reader=object()),
    )
    one.record.started = 0.0
    one.record.trial = series([310, 610, 910, 1210], key=Key("threads"))
    before = len(one.record.trial.observations)
    one.search.run()
    trial = one.record.trial
    assert len(ran) == cycles
    assert trial.about.search_seconds == round(now[0] - 100.0, 1) <= longest
    assert trial.places
    stopped_early = [note.text.startswith("partial: another cycle would have") for note in trial.places.notes]
    assert stopped_early == [True] * (cycles < 3)
    assert set(labels) == {SEARCH}
    assert one.record.step == f"cycle {before + cycles} ({SEARCH})", "for a crash while the agents are asked"
