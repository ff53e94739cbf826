"""A generator that was the bottleneck is reported: in the ledger, in its log, and beside the verdict."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Ledger
from harness.core.judge.trial import judge
from harness.swarm.launch import Swarm
from harness.swarm.saturation import LATE, WINDOW
from tests.core.series import trial
from tests.edges.servers.sse_scripted import STREAM, Connection, serve
from tests.edges.swarm_cycles import swarm_of

FLOOD = b"".join(b"id: %d\ndata: x\n\n" % number for number in range(20_000))


def answer(it: Connection) -> None:
    """One event and then silence; at /flood, events without end. Sending takes a tenth of the CPU of counting them, so
    data always waits in the kernel, even if both share a core."""
    it.send(STREAM + b"data: x\n\n")
    while it.asked.target == "/flood":
        it.send(FLOOD)
    it.wait_gone()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(answer) as server:
        yield server.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("swarm")


@pytest.fixture(scope="module")
def swarm(url: str, folder: Path) -> Iterator[Swarm]:
    with swarm_of(url, folder) as found:
        found.wait_ready()
        yield found


def check_reported(ledger: Ledger, folder: Path, reason: str) -> None:
    """Assert that every place reports it."""
    assert ledger.saturated
    assert any(reason in note.text for note in ledger.notes)
    assert reason in (folder / "swarm.log").read_text()
    steady = trial([10.0] * 12)
    seen = replace(steady.observations[4], ledger=replace(ledger, failed=0, causes={}))
    rests = replace(steady, observations=(*steady.observations[:4], seen, *steady.observations[5:]))
    assert any("bottleneck" in warning for warning in judge(rests).warnings)


def test_a_late_loop_is_reported(swarm: Swarm, folder: Path) -> None:
    """The process is stopped for a while, as on a machine without a free core. It is reported beside a busy core
    too."""
    stopped: list[threading.Timer] = []

    def progress(ledger: Ledger) -> None:
        if ledger.opened == 5 and not stopped:
            timer = threading.Timer(LATE + 0.15, os.kill, (swarm.pid, signal.SIGCONT))
            stopped.append(timer)
            os.kill(swarm.pid, signal.SIGSTOP)
            timer.start()

    ledger = swarm.cycle(
        CycleSpec(0, 5, 5, dwell=1.2 * WINDOW, events=0, paths=("/events",)), progress=progress
    )
    assert stopped
    assert (ledger.opened, ledger.completed) == (5, 5)
    check_reported(ledger, folder, "its loop was")


def test_a_busy_core_is_reported(swarm: Swarm, folder: Path) -> None:
    """As many events as it can, until the progress says that it is so."""
    seen: list[Ledger] = []
    spec = CycleSpec(1, 4, 4, dwell=60.0, events=0, paths=("/flood",))
    ledger = swarm.cycle(
        spec,
        progress=seen.append,
        cancelled=lambda: (
            bool(seen) and ("its core was" in str(seen[-1].notes) or seen[-1].seconds > 10 * WINDOW)
        ),
    )
    assert ledger.opened == 4
    check_reported(ledger, folder, "its core was")
