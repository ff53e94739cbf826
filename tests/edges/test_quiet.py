"""The end of a cycle on real processes: what never holds still has a floor, what burns at rest is seen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec
from harness.core.metric import Key
from harness.core.sample import Census
from harness.experiment.around import Surroundings
from harness.experiment.broker import Broker, BrokerSetup
from harness.experiment.inside import Inside
from harness.experiment.levels import Reader
from harness.experiment.quiet import Quiet, rest
from harness.experiment.reproduce import Wish, describe, setup_for
from harness.experiment.trial import TrialRunner
from harness.probe.sampler import Sampler
from harness.store.run_dir import RunDirectory
from harness.target.attach import AttachedTarget
from harness.target.spawn import free_port

# Three descriptors come and go five times a second.
FLICKERS = """
import os, time
while True:
    held = [os.open("/dev/null", 0) for _ in range(3)]; time.sleep(0.1)
    for one in held: os.close(one)
    time.sleep(0.1)
"""
# A fifth of a core, and nothing else.
BURNS = """
import time
while True:
    end = time.thread_time() + 0.01
    while time.thread_time() < end: pass
    time.sleep(0.04)
"""


@contextmanager
def at_rest(
    program: str, *, patience: float = 20.0, port: int = 0, ready: Callable[[], None] = lambda: None
) -> Iterator[tuple[Quiet, Sampler]]:
    start = time.monotonic()

    def clock() -> float:
        return time.monotonic() - start

    child = subprocess.Popen([sys.executable, "-c", program, str(port)])
    try:
        ready()
        with Sampler(child.pid, clock=clock, interval=0.05) as sampler:
            yield (
                rest(
                    sampler,
                    port=port or free_port(),
                    window=1.0,
                    settle=0.5,
                    patience=patience,
                    clock=clock,
                    stopped=lambda: False,
                    tick=lambda: None,
                ),
                sampler,
            )
    finally:
        child.kill()
        child.wait()


def test_a_process_that_never_holds_still_is_at_rest_on_its_floor() -> None:
    with at_rest(FLICKERS) as (quiet, sampler):
        assert quiet.settled
        assert quiet.restless
        assert "fds" in quiet.moving
        assert quiet.level["fds"] == min(s.fds for s in sampler.samples() if s.fds is not None)


def test_what_burns_at_rest_is_a_level_and_what_sleeps_is_none() -> None:
    with at_rest(BURNS) as (quiet, _):
        assert quiet.levels()[Key("idle-cpu")] == pytest.approx(0.2, abs=0.12)
    with at_rest("import time; time.sleep(60)") as (quiet, _):
        assert not quiet.restless
        assert quiet.levels()[Key("idle-cpu")] < 0.02


def test_of_several_censuses_the_lowest_counts_and_a_class_not_met_is_none() -> None:
    looks = (
        Census(at=1.0, fds={"file": 8, "pipe": 2}, threads={"a": 3}, processes=1),
        Census(at=1.1, fds={"file": 5}, threads={"a": 4}, processes=1),
    )
    levels = Quiet(True, "fds", {"fds": 4.0}, 0.0, restless=True).levels(*looks)
    assert levels[Key("fds", "file")] == 5.0
    assert levels[Key("fds", "pipe")] == 0.0
    assert levels[Key("threads")] == 3.0
    assert levels[Key("fds")] == 4.0, "the hot lane saw lower still"


# Keeps every client, and moves no descriptor of its own.
HOLDS = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
held = [listener.accept()]
time.sleep(60)
"""


def test_no_level_while_a_client_is_connected_however_still_the_descriptors() -> None:
    port = free_port()
    client: list[socket.socket] = []

    def connect() -> None:
        deadline = time.monotonic() + 10.0
        while not client:
            try:
                client.append(socket.create_connection(("127.0.0.1", port), timeout=5.0))
            except OSError:
                assert time.monotonic() < deadline, "it never listened"
                time.sleep(0.02)

    with at_rest(HOLDS, patience=2.5, port=port, ready=connect) as (quiet, _), client[0]:
        assert not quiet.settled
        assert "inbound" in quiet.moving


def test_a_cycle_that_never_settled_has_no_levels() -> None:
    assert Quiet(False, "fds", {"fds": 4.0}, 0.0).levels(Census(at=1.0, fds={"file": 8})) == {}


# Its last descriptor goes 0.8 s after it was asked to rest.
CLOSES_LATE = """
import os, time
held = os.open("/dev/null", 0); time.sleep(0.8); os.close(held); time.sleep(60)
"""


def test_the_window_follows_the_slowest_close_within_reason(tmp_path: Path) -> None:
    setup = replace(setup_for(describe()["fixed"], Wish()), settle=0.3, patience=20.0)
    directory = RunDirectory.create(tmp_path / "run", "run")
    around = Surroundings(time.monotonic, directory, threading.Event(), seed=1)
    target = AttachedTarget(os.getpid())
    with Sampler(os.getpid(), clock=time.monotonic) as sampler:
        reader = Reader(setup, around, target, sampler, Inside(setup.runtime), None, free_port(), print)
        assert reader._window() == 0.3
        reader.close_lag = 0.8
        assert reader._window() == 1.6
        reader.close_lag = 60.0
        assert reader._window() == 20.0 / 3


def test_what_closes_late_says_how_late() -> None:
    with at_rest(CLOSES_LATE) as (quiet, sampler):
        before = max(s.fds for s in sampler.samples() if s.fds is not None)
        assert quiet.level["fds"] == before - 1
        assert 0.2 <= quiet.close_lag <= 5.0


def test_a_cycle_may_silence_the_broker_and_the_next_one_hears_it_again(tmp_path: Path) -> None:
    setup = setup_for(describe()["fixed"], Wish())
    directory = RunDirectory.create(tmp_path / "run", "run")
    runner = TrialRunner(setup, Surroundings(time.monotonic, directory, threading.Event(), seed=1))
    plain = CycleSpec(index=0, connections=1, concurrency=1, dwell=1.0)
    silenced = CycleSpec(index=1, connections=1, concurrency=1, dwell=1.0, fault="silence")
    with Broker.start(BrokerSetup(), log=tmp_path / "broker.log", seed=1) as broker:
        runner.broker = broker
        heard = []
        for step in (plain, silenced, silenced, plain):
            runner._flap(step)
            heard.append(bool(broker.ask("stats")["silent"]))
    assert heard == [False, True, True, False]
