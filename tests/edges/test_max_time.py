"""``--max-time`` holds in every phase: the run ends within 5 s of it, whatever is slow."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from harness.core.cycle import CycleSpec, Phase
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.experiment.guard import Guarded, guard_once
from harness.experiment.options import request_of
from harness.experiment.stop_signal import StopSignal
from harness.probe.sampler import Sampler
from harness.runtime.python import PythonCounters
from harness.swarm.launch import Swarm

SERVICE = Path(__file__).parents[1] / "services" / "asyncio_service.py"
LIMIT = 8.0  # seconds of --max-time; a start takes 2 to 5 of them on a busy machine
LATE = 5.0  # seconds by which it may be missed
SLOW = 60.0  # seconds that the slow phase would take

pytestmark = pytest.mark.timeout(120)


def guard(tmp_path: Path, behaviour: str = "healthy", **more: Any) -> tuple[Guarded, float]:
    steps = more.pop("steps", None)
    request = request_of(
        url="http://127.0.0.1:{port}/events",
        **{
            "command": (sys.executable, str(SERVICE), "{port}", behaviour),
            "connections": 60,
            "concurrency": 30,
            "dwell": 0.3,
            "settle": 0.3,
            "sensitivity": 0.1,
            "max_time": LIMIT,
            "out": tmp_path / "run",
            **more,
        },
    )
    began = time.monotonic()
    done = guard_once(request, command="test", steps=steps)
    return done, time.monotonic() - began


def sleeping(*_: Any, **__: Any) -> None:
    """Replaces a call with one that takes much longer than the limit. It runs in a daemon thread."""
    threading.Event().wait(SLOW)


def one_long_cycle(trial: Trial) -> CycleSpec:
    return CycleSpec(len(trial.observations), 30, 30, SLOW, events=0, phase=Phase.LOAD)


def slow_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PythonCounters, "read", sleeping)


def slow_census(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sampler, "census", sleeping)


def slow_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PythonCounters, "snapshot", sleeping)


@pytest.mark.parametrize(
    ("slow", "more"),
    [
        (slow_reads, {}),
        (slow_census, {"runtime": "none"}),
        (slow_snapshots, {"behaviour": "eventfd@connection", "max_time": 20.0, "retention": 0}),
        (lambda _: None, {"steps": one_long_cycle, "runtime": "none", "dwell": SLOW}),
    ],
    ids=["agent", "census", "attribution", "cycle"],
)
def test_a_slow_phase_is_cancelled(
    slow: Callable[[pytest.MonkeyPatch], None],
    more: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow(monkeypatch)
    done, seconds = guard(tmp_path, **more)
    limit = more.get("max_time", LIMIT)
    assert seconds <= limit + LATE, done.trial.notes
    assert any(
        note.text == f"stopped: the time limit of {limit:g} s was reached" for note in done.trial.notes
    ), done.trial.notes
    assert not done.trial.interrupted
    expected = Outcome.LEAKING if "behaviour" in more else Outcome.INCONCLUSIVE
    assert done.verdict.outcome is expected, done.verdict.explain()


def test_max_time_includes_the_start_of_the_service(tmp_path: Path) -> None:
    """A service that never listens: its own timeout of 30 s would come later."""
    command = (sys.executable, "-c", "import signal; signal.pause()", "{port}")
    done, seconds = guard(tmp_path, command=command, max_time=2.0)
    assert seconds <= 2.0 + LATE
    assert done.verdict.outcome is Outcome.UNREADY


def test_max_time_includes_the_start_of_the_load_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: Swarm) -> None:
        monkeypatch.undo()
        self.launch()
        assert self._listener
        self._listener.close()
        self._listener = socket.create_server(("127.0.0.1", 0))  # no generator will connect here

    monkeypatch.setattr(Swarm, "launch", launch)
    done, seconds = guard(tmp_path, max_time=3.0)
    assert seconds <= 3.0 + LATE
    assert done.verdict.outcome in (Outcome.INCONCLUSIVE, Outcome.INFRASTRUCTURE)


def test_a_stop_signal_is_set_by_the_user_or_by_the_time_limit() -> None:
    now = [0.0]
    user = Event()
    halt = StopSignal(user, lambda: now[0], 5.0)
    assert not halt.is_set()
    assert not halt.wait(0.0)
    now[0] = 5.0
    assert halt.is_set()
    assert halt.wait(60.0)
    assert halt.time_up
    user.set()
    assert halt.is_set()
    assert not halt.time_up
    assert not StopSignal(Event(), lambda: 1e9, None).is_set()


CHILDREN = 500
WITH_CHILDREN = f"""
import asyncio, os, signal, sys

for _ in range({CHILDREN}):
    if os.fork() == 0:
        while True:
            signal.pause()


async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    head = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nConnection: close\\r\\n\\r\\n"
    writer.write(head + b"data: x\\n\\n")
    await reader.read()
    writer.close()


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1000):
        await asyncio.Event().wait()


asyncio.run(main())
"""


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("runtime", ["auto", "none"])
def test_five_hundred_children_do_not_delay_the_end(runtime: str, tmp_path: Path) -> None:
    """The shortest of three tries counts: other load on the machine only makes them longer."""
    command = (sys.executable, "-c", WITH_CHILDREN, "{port}")
    late = []
    for number in range(3):
        done, seconds = guard(
            tmp_path, command=command, runtime=runtime, max_time=20.0, out=tmp_path / f"run-{number}"
        )
        late.append(seconds - 20.0)
        looks = [one.census.processes for one in done.trial.observations if one.census]
        assert not looks or max(looks) > CHILDREN
        if late[-1] <= LATE:
            break
    print(f"{CHILDREN} children, {runtime}: {min(late):.1f} s late")
    assert min(late) <= LATE, (late, done.trial.notes)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_lost_worker_does_not_delay_the_end(number: signal.Signals, tmp_path: Path) -> None:
    """One of two generators stops in the first long cycle, whose streams last much longer than the time."""
    lost: list[int] = []

    def attack() -> None:
        deadline = time.monotonic() + 60.0
        while not lost and time.monotonic() < deadline:
            for one in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    words = one.cmdline()
                    if "harness.swarm.worker" not in words or "supervisor.py" in " ".join(words):
                        continue
                    if not any(each.status == psutil.CONN_ESTABLISHED for each in one.net_connections("tcp")):
                        continue  # it has no stream open yet
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one.pid, number)
                    lost.append(one.pid)
                    break
            time.sleep(0.05)

    thread = threading.Thread(target=attack)
    thread.start()
    done, seconds = guard(
        tmp_path, processes=2, runtime="none", max_time=12.0, steps=one_long_cycle, dwell=SLOW
    )
    thread.join()
    assert lost
    assert seconds <= 12.0 + LATE, done.trial.notes
    assert done.verdict.exit_code in (3, 4), done.verdict.explain()
