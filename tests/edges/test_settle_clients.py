"""The end of a cycle: connected clients are found in the census, or counted separately if it cannot show them."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Ledger, Observation
from harness.core.errors import BrokerError
from harness.core.judge.unnoticed import premature
from harness.core.metric import Key
from harness.experiment.broker import CANCELLED_TIMEOUT, Broker, BrokerSetup
from harness.experiment.context import TrialContext
from harness.experiment.levels import LevelReader
from harness.experiment.options import with_options
from harness.experiment.reproduce import LoadOverrides, describe, setup_for
from harness.experiment.settle import MIN_SLEEP, POLL, _sleep_time
from harness.experiment.target_runtime import TargetRuntime
from harness.probe.sampler import Sampler
from harness.store.run_dir import RunDirectory
from harness.target.attach import AttachedTarget
from harness.target.spawn import free_port
from tests.edges.command_line import wait_for

# Takes one client, if there is one, and closes when it leaves, in whatever way; moves no descriptor meanwhile.
SERVES = """
import contextlib, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        with listener.accept()[0] as client, contextlib.suppress(OSError):
            client.sendall(b"x")
            client.recv(1)
"""
STEP = CycleSpec(index=0, connections=1, concurrency=1, dwell=1.0)


class Counted(Sampler):
    """Counts how often the kernel's sockets are walked for clients; after the second time ``leaves`` goes."""

    asked = 0
    leaves: socket.socket | None = None

    def inbound(self, port: int) -> int | None:
        """How many."""
        self.asked += 1
        found = super().inbound(port)
        if self.asked == 2 and self.leaves:
            self.leaves.close()
        return found


@contextmanager
def served(
    folder: Path, *, client: bool, timeout: float = 30.0, program: str = SERVES
) -> Iterator[tuple[LevelReader, Counted, socket.socket]]:
    port = free_port()
    setup = setup_for(describe()["fixed"], LoadOverrides())
    setup = replace(setup, request=with_options(setup.request, settle=0.3, settle_timeout=timeout))
    directory = RunDirectory.create(folder / "run", "run")
    start = time.monotonic()

    def clock() -> float:
        return time.monotonic() - start

    context = TrialContext(clock, directory, threading.Event(), seed=1)
    with subprocess.Popen([sys.executable, "-c", program, str(port)]) as child, socket.socket() as one:
        try:
            wait_for(lambda: listens(port), "it listens")
            if client:
                one.connect(("127.0.0.1", port))
                assert one.recv(1) == b"x"
            with Counted(child.pid, clock=clock, interval=0.05) as sampler:
                target = AttachedTarget(child.pid)
                runtime = TargetRuntime(setup.runtime)
                yield LevelReader(setup, context, target, sampler, runtime, None, port, print), sampler, one
                target.stop()
        finally:
            child.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cycle(reader: LevelReader) -> Observation:
    result = reader.settle(lambda: None)
    return reader.observe(STEP, Ledger(opened=1), result, 0.0, 0.0)


def test_without_accepted_connections_in_the_census_the_kernel_is_not_read_again(tmp_path: Path) -> None:
    with served(tmp_path, client=False) as (reader, sampler, _):
        seen = cycle(reader)
        assert seen.settled
        assert seen.levels[Key("fds", "tcp-listen")] == 1
        assert sampler.asked == 0


def test_a_client_that_is_still_connected_is_waited_for(tmp_path: Path) -> None:
    with served(tmp_path, client=True) as (reader, sampler, client):
        sampler.leaves = client
        seen = cycle(reader)
        assert seen.settled
        assert Key("fds", "tcp-in") not in seen.levels, "the level is that without it"
        assert sampler.asked >= 3
        assert seen.close_lag > 0


def test_while_a_client_stays_there_is_no_level(tmp_path: Path) -> None:
    with served(tmp_path, client=True, timeout=2.5) as (reader, _, __):
        seen = cycle(reader)
        assert not seen.settled
        assert "inbound" in seen.unsettled
        assert not seen.levels


# Closes two seconds after a client has left, as a service does that notices it by its next writes. The two seconds
# begin with the departure: events by a clock of its own would come sooner after clients that a busy machine delayed.
CLOSES_LATE = """
import socket, sys, threading, time
def serve(client):
    client.sendall(b"x")
    client.recv(1)
    time.sleep(2.0)
    client.close()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def visit(reader: LevelReader, port: int, clients: int = 6) -> Observation:
    """A cycle of clients that connect, read, and disconnect by FIN."""
    found = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    for one in found:
        assert one.recv(1) == b"x"
        one.close()
    started = reader.context.clock()
    result = reader.settle(lambda: None)
    return reader.observe(
        replace(STEP, connections=clients), Ledger(opened=clients), result, started, started
    )


def test_a_service_that_notices_departures_late_gets_the_time_that_its_slowest_close_took(
    tmp_path: Path,
) -> None:
    with served(tmp_path, client=False, program=CLOSES_LATE) as (reader, _, __):
        first = visit(reader, reader.port)
        assert first.levels[Key("fds", "close-wait")] == 6  # read before the service could know
        control = replace(STEP, connections=0)
        deadline = time.monotonic() + 20
        while reader.close_times.slowest < 0.5 and time.monotonic() < deadline:
            began = reader.context.clock()
            reader.observe(control, Ledger(), reader.settle(lambda: None), began, began)
        assert 1.5 < reader.close_times.slowest < 8.0, "learnt without clients"
        second = visit(reader, reader.port)
        deadline = time.monotonic() + 30
        # On a busy machine the next close may take longer than every one before it, which the window then knows.
        while Key("fds", "close-wait") in second.levels and time.monotonic() < deadline:
            second = visit(reader, reader.port)
        assert Key("fds", "close-wait") not in second.levels
        assert second.levels[Key("fds")] < first.levels[Key("fds")]
        assert sorted(premature([first, second])) == [0]


@pytest.mark.parametrize(
    ("moments", "nap"),
    [
        ((10.08, 11.0), 0.08),
        ((10.08, 10.03), 0.03),
        ((9.0, 11.0), POLL),
        ((9.0, 10.0), POLL),
        ((10.001, 10.5), MIN_SLEEP),
    ],
    ids=["the next sample", "the window is full before", "a late sample", "both are late", "no busy loop"],
)
def test_the_watch_sleeps_until_a_count_may_have_changed(moments: tuple[float, float], nap: float) -> None:
    assert math.isclose(_sleep_time(10.0, *moments), nap)


def test_an_unresponsive_broker_is_waited_for_unless_the_user_has_stopped_the_run(tmp_path: Path) -> None:
    stopped = threading.Event()
    with Broker.start(BrokerSetup(), log=tmp_path / "log", seed=1, cancelled=stopped.is_set) as broker:
        os.kill(broker.child.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(broker.count)
            with pytest.raises(TimeoutError):
                answer.result(CANCELLED_TIMEOUT + 0.5)
            os.kill(broker.child.pid, signal.SIGCONT)
            assert answer.result(30).peers == 0
        os.kill(broker.child.pid, signal.SIGSTOP)
        stopped.set()
        with pytest.raises(BrokerError, match="it is running but does not answer"):
            broker.count()
        broker.child.signal(signal.SIGKILL)
        assert broker.child.wait(30)
        with pytest.raises(BrokerError, match="it exited with -9"):
            broker.count()
