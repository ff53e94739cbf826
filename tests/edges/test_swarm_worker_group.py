"""Several generators: a cycle is divided exactly, and a worker that exits is reported with its open streams."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import SwarmError
from harness.process.child import Child
from harness.swarm.launch import Swarm
from harness.swarm.setup import SECRET_VARIABLE
from harness.target.spawn import free_port
from tests.edges.servers.counting_server import CountingServer
from tests.edges.swarm_cycles import agree, swarm_at, swarm_of, workers_of

ROOT = Path(__file__).parents[2]
REMOTE = "a secret of more than 32 characters"
SPEC = CycleSpec(0, 61, 20, 30.0, events=3, disconnect="mixed", paths=("/a", "/b"))


def test_processes_share_a_cycle_and_one_that_exits_is_reported(tmp_path: Path) -> None:
    with (
        CountingServer() as server,
        swarm_at(server, tmp_path, processes=2, linger=1.2, stall_after=60.0) as swarm,
    ):
        ledger = swarm.cycle(SPEC)
        agree(ledger, server)
        assert ledger.opened == ledger.completed == 61
        assert ledger.by_path in ({"/a": 31, "/b": 30}, {"/a": 30, "/b": 31})
        assert server.count.peak <= 20
        assert ledger.first_event_p50 is not None
        assert ledger.first_event_p99 is not None
        assert ledger.first_event_p50 <= ledger.first_event_p99

        # One that is kept from running for longer than its heartbeats may be late is alive all the same.
        server.clear()
        slow = workers_of(swarm.pid)[1]
        os.kill(slow, signal.SIGSTOP)
        threading.Timer(5.5, os.kill, (slow, signal.SIGCONT)).start()
        ledger = swarm.cycle(SPEC)
        agree(ledger, server)
        assert ledger.completed == 61
        assert not any("died" in note.text for note in ledger.notes)

        server.clear()
        seen: list[Ledger] = []
        victim = workers_of(swarm.pid)[0]

        def kill() -> bool:
            if not dead and seen and seen[-1].open_now == 20:
                dead.append(victim)
                os.kill(victim, signal.SIGKILL)
            # Its ten streams end with it; the other workers continue until the test has seen them too.
            return bool(dead) and seen[-1].causes.get("worker-lost", 0) == 10

        dead: list[int] = []
        ledger = swarm.cycle(
            replace(SPEC, events=0, dwell=60.0, disconnect="fin"), progress=seen.append, cancelled=kill
        )
        server.settle()
        assert ledger.causes == {"worker-lost": 10, "cancelled": 10}
        assert (ledger.opened, ledger.failed, ledger.open_now) == (20, 20, 0)
        (note,) = [note.text for note in ledger.notes if "exited during" in note.text]
        named = re.search(r"/(\d+) exited during the cycle with 10 streams open; (\d+) of its (\d+)", note)
        assert named is not None, note
        assert int(named[1]) == victim
        assert int(named[2]) + 10 == int(named[3])

        server.clear()
        ledger = swarm.cycle(SPEC)
        agree(ledger, server)
        assert ledger.completed == 61
        assert any(f"/{victim} exited: the others take its share" in note.text for note in ledger.notes)

        os.kill(workers_of(swarm.pid)[0], signal.SIGKILL)
        with pytest.raises(SwarmError, match="no worker is left"):
            two_cycles(swarm)  # the last worker may be seen to die in the first of them


def two_cycles(swarm: Swarm) -> None:
    for _ in range(2):
        ledger = swarm.cycle(SPEC)
        assert ledger.open_now == 0
        assert any("exited during" in note.text for note in ledger.notes)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespaces(count: int) -> Iterator[list[tuple[str, str, str]]]:
    """Network namespaces, each with a cable to this one: (name, our address, its address).

    They are always removed, and the cables with them.
    """
    tag = uuid.uuid4().hex[:6]
    found = []
    with ExitStack() as stack:
        for number in range(count):
            name, ours, theirs = f"sse-{tag}-{number}", f"v{tag}{number}a", f"v{tag}{number}b"
            net = f"10.213.{os.getpid() % 200}.{number * 4}".rsplit(".", 1)
            here, there = f"{net[0]}.{int(net[1]) + 1}", f"{net[0]}.{int(net[1]) + 2}"
            ip("netns", "add", name)
            stack.callback(ip, "netns", "delete", name)
            ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
            ip("addr", "add", f"{here}/30", "dev", ours)
            ip("link", "set", ours, "up")
            ip("-n", name, "addr", "add", f"{there}/30", "dev", theirs)
            ip("-n", name, "link", "set", theirs, "up")
            ip("-n", name, "route", "add", "default", "via", here)
            found.append((name, here, there))
        yield found


def _can_make_namespaces() -> bool:
    name = f"sse-{uuid.uuid4().hex[:6]}"
    try:
        ip("netns", "add", name)
        ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@pytest.mark.skipif(
    not _can_make_namespaces(), reason="network namespaces need iproute2 and CAP_SYS_ADMIN (root)"
)
def test_workers_on_other_machines_share_a_cycle(tmp_path: Path) -> None:
    """Two workers, each in a network of its own, connect to the master and the service over a cable."""
    with namespaces(2) as nets, ExitStack() as stack:
        here = nets[0][1]
        server = stack.enter_context(CountingServer(here))
        port = free_port()
        swarm = swarm_of(
            server.url,
            tmp_path,
            processes=0,
            remote_workers=2,
            bind=f"{here}:{port}",
            linger=1.2,
            secret=REMOTE,
        )
        stack.enter_context(swarm)
        workers = []
        for name, _, _ in nets:
            argv = [
                "ip",
                "netns",
                "exec",
                name,
                sys.executable,
                "-m",
                "harness.swarm.worker",
                f"{here}:{port}",
            ]
            env = {**os.environ, SECRET_VARIABLE: REMOTE}
            worker = Child.spawn(argv, log=tmp_path / f"{name}.log", name=name, cwd=ROOT, env=env)
            stack.callback(worker.stop, 0.2)
            workers.append(worker)
        swarm.wait_ready()
        server.clients = lambda: [worker.pid for worker in workers]
        ledger = swarm.cycle(SPEC)
        agree(ledger, server)
        assert ledger.completed == 61
        by_address = dict(server.count.by_address)
        assert sorted(by_address.values()) == [30, 31]
        assert set(by_address) == {there for _, _, there in nets}

        # A machine that disappears without closing its connections: its streams just stop.
        server.clear()
        seen: list[Ledger] = []
        cut: list[str] = []

        def vanish() -> bool:
            if not cut and seen and seen[-1].open_now == 20:
                cut.append(nets[1][0])
                workers[1].signal(signal.SIGKILL)
            return bool(cut) and seen[-1].causes.get("worker-lost", 0) == 10

        ledger = swarm.cycle(
            replace(SPEC, events=0, dwell=60.0, disconnect="fin"), progress=seen.append, cancelled=vanish
        )
        assert ledger.causes == {"worker-lost": 10, "cancelled": 10}
        assert any("exited during the cycle with 10 streams open" in note.text for note in ledger.notes)
        server.settle()
