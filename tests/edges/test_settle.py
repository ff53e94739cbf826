"""The end of a cycle with real processes: counts that always change have a floor, and idle CPU use is found."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.core.cycle import CycleSpec
from harness.core.metric import Key
from harness.core.sample import Census
from harness.experiment.broker import Broker, BrokerSetup
from harness.experiment.context import TrialContext
from harness.experiment.reproduce import LoadOverrides, describe, setup_for
from harness.experiment.settle import SettleCriteria, SettleResult, wait_until_settled
from harness.experiment.trial_cycle import CycleRunner
from harness.experiment.trial_record import TrialRecord
from harness.probe.sampler import Sampler
from harness.store.run_dir import RunDirectory
from harness.target.spawn import free_port
from tests.edges.probe_target import asleep, wait_for

# Three descriptors come and go five times a second.
FLICKERS = """
import os, time
print(flush=True)
while True:
    held = [os.open("/dev/null", 0) for _ in range(3)]; time.sleep(0.1)
    for one in held: os.close(one)
    time.sleep(0.1)
"""
# A fifth of a core, and nothing else.
BURNS = """
import time
print(flush=True)
while True:
    end = time.thread_time() + 0.01
    while time.thread_time() < end: pass
    time.sleep(0.04)
"""


@contextmanager
def settled_process(
    program: str, *, timeout: float = 60.0, port: int = 0, tick: Callable[[int], None] = lambda pid: None
) -> Iterator[tuple[SettleResult, Sampler]]:
    """``program`` has started up once it says a line. tick: with its pid, at every look but the last."""
    start = time.monotonic()

    def clock() -> float:
        return time.monotonic() - start

    child = subprocess.Popen([sys.executable, "-c", program, str(port)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        wait_for(lambda: asleep(child.pid), "its start is over")
        with Sampler(child.pid, clock=clock, interval=0.05) as sampler:
            yield (
                wait_until_settled(
                    sampler,
                    SettleCriteria(window=1.0, settle=0.5, timeout=timeout),
                    port=port or free_port(),
                    clock=clock,
                    stopped=lambda: False,
                    tick=lambda: tick(child.pid),
                ),
                sampler,
            )
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def test_a_process_that_never_stops_changing_settles_on_its_minimum() -> None:
    with settled_process(FLICKERS) as (result, sampler):
        assert result.settled
        assert result.fluctuating
        assert "fds" in result.moving
        assert result.level["fds"] == min(s.fds for s in sampler.samples() if s.fds is not None)


def test_cpu_use_while_idle_is_a_level_and_sleep_is_none() -> None:
    with settled_process(BURNS) as (result, sampler):
        # A fifth where the machine is idle, less where it is not: as much as it had in some half second.
        had = shares(sampler, 0.4)
        level = result.levels()[Key("idle-cpu")]
        assert level > 0.01
        assert min(had) <= level <= max(had) < 0.5
    with settled_process("import time; print(flush=True); time.sleep(60)") as (result, _):
        assert not result.fluctuating
        assert result.levels()[Key("idle-cpu")] < 0.001


def shares(sampler: Sampler, least: float) -> list[float]:
    """Shares of a core, over every measured period of ``least`` seconds or more."""
    seen = [(sample.at, sample.cpu) for sample in sampler.samples() if sample.cpu is not None]
    return [
        (cpu - cpu_before) / (at - at_before)
        for at_before, cpu_before in seen
        for at, cpu in seen
        if at - at_before >= least
    ]


def test_of_several_censuses_the_lowest_counts_and_an_absent_class_is_none() -> None:
    looks = (
        Census(at=1.0, fds={"file": 8, "pipe": 2}, threads={"a": 3}, processes=1),
        Census(at=1.1, fds={"file": 5}, threads={"a": 4}, processes=1),
    )
    levels = SettleResult(True, "fds", {"fds": 4.0}, 0.0, fluctuating=True).levels(*looks)
    assert levels[Key("fds", "file")] == 5.0
    assert levels[Key("fds", "pipe")] == 0.0
    assert levels[Key("threads")] == 3.0
    assert levels[Key("fds")] == 4.0, "the hot lane saw lower still"


# Keeps every client, and moves no descriptor of its own.
HOLDS = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(flush=True)
held = [listener.accept()]
time.sleep(60)
"""


def test_no_level_while_a_client_is_connected_however_still_the_descriptors() -> None:
    port = free_port()
    client: list[socket.socket] = []

    def connect(pid: int) -> None:
        if not client:
            client.append(socket.create_connection(("127.0.0.1", port), timeout=20.0))

    with settled_process(HOLDS, timeout=2.5, port=port, tick=connect) as (result, _), client[0]:
        assert not result.settled
        assert "inbound" in result.moving


def test_a_cycle_that_never_settled_has_no_levels() -> None:
    assert SettleResult(False, "fds", {"fds": 4.0}, 0.0).levels(Census(at=1.0, fds={"file": 8})) == {}


# It closes its last descriptor on request.
CLOSES_LATE = """
import os, signal
held = os.open("/dev/null", 0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); print(flush=True)
signal.sigwait([signal.SIGUSR1]); os.close(held); signal.pause()
"""


def test_late_closes_are_reported_with_their_time() -> None:
    looks: list[float] = []
    reported: list[float] = []

    def late(pid: int) -> None:
        looks.append(time.monotonic())
        if not reported and looks[-1] - looks[0] >= 0.2:
            reported.append(looks[-1])
            os.kill(pid, signal.SIGUSR1)

    began = time.monotonic()
    with settled_process(CLOSES_LATE, tick=late) as (result, sampler):
        ended = time.monotonic()
        before = max(s.fds for s in sampler.samples() if s.fds is not None)
        assert result.level["fds"] == before - 1
        assert reported[0] - looks[0] <= result.close_lag <= ended - began - 1.0  # its window is not counted


def test_a_cycle_may_silence_the_broker_and_the_next_one_resumes_it(tmp_path: Path) -> None:
    setup = setup_for(describe()["fixed"], LoadOverrides())
    directory = RunDirectory.create(tmp_path / "run", "run")
    record = TrialRecord(setup, TrialContext(time.monotonic, directory, threading.Event(), seed=1))
    plain = CycleSpec(index=0, connections=1, concurrency=1, dwell=1.0)
    silenced = CycleSpec(index=1, connections=1, concurrency=1, dwell=1.0, fault="silence")
    with Broker.start(BrokerSetup(), log=tmp_path / "broker.log", seed=1) as broker:
        parts: Any = SimpleNamespace(broker=broker)
        runner = CycleRunner(record, parts)
        heard = []
        for step in (plain, silenced, silenced, plain):
            runner._set_broker(step)
            heard.append(bool(broker.ask("stats")["silent"]))
    assert heard == [False, True, True, False]
