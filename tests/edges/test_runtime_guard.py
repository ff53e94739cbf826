"""Runtime counters in a whole guard: levels of the record, a leak that they find, and its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Phase
from harness.core.errors import ConfigError
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.note import NoteKind, of_kind
from harness.core.plan import Stop
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.experiment.guard import Guarded, guard_once
from harness.experiment.options import request_of
from harness.runtime.counters import ASYNCIO_TASKS, BLOCKS, OBJECTS
from harness.runtime.snapshot import Snapshot
from harness.store.run_dir import RunDirectory
from tests.edges.servers.clients import line_of

pytestmark = pytest.mark.timeout(300)
SERVICES = Path(__file__).parents[1] / "services"
ASYNCIO = SERVICES / "asyncio_service.py"


def guard(behaviour: str, folder: Path, **more: object) -> Guarded:
    arguments = {
        "command": (sys.executable, str(ASYNCIO), "{port}", behaviour),
        "url": "http://127.0.0.1:{port}/events",
        "connections": 100,
        "concurrency": 25,
        "dwell": 0.4,
        "settle": 0.3,
        "sensitivity": 1 / 100,
        "max_time": 120.0,  # certain after 8 s on a machine of its own, 18 s on a third of a core
        "out": folder / "run",
        **more,
    }
    return guard_once(request_of(**{"retention": 0.0, **arguments}), command="test")  # type: ignore[arg-type]


def few(trial: Trial) -> CycleSpec | Stop:
    """Two cycles, whatever they show."""
    index = len(trial.observations)
    return Stop("seen") if index == 2 else CycleSpec(index, 20, 10, 0.3, phase=Phase.LOAD)


def test_a_leaked_task_is_certain_and_named_by_the_line_where_it_waits(tmp_path: Path) -> None:
    done = guard("task@connection", tmp_path)
    assert done.verdict.outcome is Outcome.LEAKING, done.verdict.explain()
    finding = next(f for f in done.verdict.findings if (f.metric, f.kind) == ("tasks", "asyncio-task"))
    assert finding.rate is not None
    assert finding.rate.value == pytest.approx(1.0, rel=0.05)
    waits = line_of(ASYNCIO, "await never.wait()")
    assert finding.where[0].startswith(f"{ASYNCIO}:{waits} in _forgotten"), finding.where
    assert "1.00 tasks per connection" in finding.where[0]
    record, _ = RunDirectory.load(tmp_path / "run")
    trial = record.trials[0]
    assert trial.target.runtime == "python"
    assert any(note.text.startswith("runtime counters: python (process ") for note in trial.notes)
    assert judge(trial) == done.verdict
    held = next(place for place in finding.where if place.startswith("`"))
    assert held == "`_asyncio.Task` in `KEPT`, a list that gains 1.00 per connection"
    assert trial.places is not None
    assert trial.places.places[0].own
    before, after = (Snapshot.load(tmp_path / "run" / "guard" / f"{n}.snapshot") for n in ("before", "after"))
    assert after.size > before.size
    assert after.connections is not None


@pytest.mark.soak
def test_a_leak_of_a_c_extension_is_found_and_called_native(tmp_path: Path) -> None:
    done = guard("malloc@connection", tmp_path)
    finding = next(f for f in done.verdict.findings if f.kind == "heap-bytes")
    assert finding.rate is not None
    assert finding.rate.value == pytest.approx(4096, rel=0.1)
    assert "nothing that Python itself allocates" in finding.where[0]


@pytest.mark.soak
def test_growth_per_second_is_placed_by_the_second(tmp_path: Path) -> None:
    done = guard("object@time", tmp_path)
    finding = next(f for f in done.verdict.findings if f.kind == "objects")
    assert finding.driver == "time"
    assert f"{SERVICES / 'things.py'}:" in finding.where[0]
    assert finding.where[0].endswith("per second")


def test_with_runtime_none_there_are_no_runtime_levels(tmp_path: Path) -> None:
    request = request_of(
        command=(sys.executable, str(ASYNCIO), "{port}", "healthy"),
        url="http://127.0.0.1:{port}/",
        settle=0.2,
        runtime="none",
        out=tmp_path / "run",
    )
    trial = guard_once(request, command="test", steps=few).trial
    assert trial.target.runtime == "none"
    assert {Key.parse("memory/objects"), ASYNCIO_TASKS}.isdisjoint(trial.observations[-1].levels)
    assert of_kind(trial.notes, NoteKind.RUNTIME_COUNTERS_OFF)


def test_the_runtime_is_recognised_and_its_counters_are_levels(tmp_path: Path) -> None:
    request = request_of(
        command=(sys.executable, str(ASYNCIO), "{port}", "healthy"),
        url="http://127.0.0.1:{port}/",
        settle=0.2,
        out=tmp_path / "run",
    )
    trial = guard_once(request, command="test", steps=few).trial
    assert {OBJECTS, BLOCKS, ASYNCIO_TASKS} <= set(trial.observations[-1].levels)


def test_a_runtime_requested_by_name_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime='jvm': .*no JVM in its tree"):
        guard("healthy", tmp_path, runtime="jvm")
    with pytest.raises(ConfigError, match=r"runtime='go': .*pprof"):
        guard("healthy", tmp_path, runtime="go")
