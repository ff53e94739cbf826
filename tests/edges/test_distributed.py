"""Clients on several machines, the target on another: one verdict, the sum in the Target tab, and lost workers by name.

Each machine is a network namespace. The target's is in the middle and routes between the others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.process.child import Child
from harness.swarm.setup import SECRET_VARIABLE
from tests.edges.command_line import HARNESS, SERVICES, SMALL, environment, wait_for
from tests.edges.test_swarm_worker_group import _can_make_namespaces, ip

ROOT = Path(__file__).parents[2]
REMOTE = "a secret of more than 32 characters"
PORT, MASTER_PORT, WEB_PORT = 8000, 5557, 8089
WORKER = (sys.executable, "-m", "harness.swarm.worker")
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not _can_make_namespaces(), reason="network namespaces need iproute2 and CAP_SYS_ADMIN (root)"
    ),
]


@dataclass(frozen=True, slots=True)
class Machine:
    """One network namespace. address: its own. hub: of the target's machine on the cable between them."""

    name: str
    address: str
    hub: str

    def argv(self, *command: str) -> list[str]:
        """A command that runs there."""
        return ["ip", "netns", "exec", self.name, *command]


@contextmanager
def machines(count: int) -> Iterator[tuple[Machine, list[Machine]]]:
    """The target's machine, and others with a cable to it."""
    tag = uuid.uuid4().hex[:5]
    net = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
    with ExitStack() as stack:
        hub = Machine(f"sse-{tag}-hub", f"{net}.1", f"{net}.1")
        ip("netns", "add", hub.name)
        stack.callback(ip, "netns", "delete", hub.name)
        ip("-n", hub.name, "link", "set", "lo", "up")
        subprocess.run(hub.argv("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"), check=True)
        found = []
        for number in range(count):
            one = Machine(f"sse-{tag}-{number}", f"{net}.{number * 4 + 2}", f"{net}.{number * 4 + 1}")
            ip("netns", "add", one.name)
            stack.callback(ip, "netns", "delete", one.name)
            here, there = f"h{tag}{number}", f"m{tag}{number}"
            ip(
                "link",
                "add",
                here,
                "netns",
                hub.name,
                "type",
                "veth",
                "peer",
                "name",
                there,
                "netns",
                one.name,
            )
            for name, link, address in ((hub.name, here, one.hub), (one.name, there, one.address)):
                ip("-n", name, "addr", "add", f"{address}/30", "dev", link)
                ip("-n", name, "link", "set", link, "up")
            ip("-n", one.name, "link", "set", "lo", "up")
            ip("-n", one.name, "route", "add", "default", "via", one.hub)
            found.append(one)
        yield hub, found


@dataclass(slots=True)
class Cluster:
    """A target, a machine for the master and two for workers."""

    hub: Machine
    master: Machine
    generators: list[Machine]
    target: Child
    folder: Path
    stack: ExitStack

    @property
    def url(self) -> str:
        """The target, from every machine."""
        return f"http://{self.hub.address}:{PORT}"

    @property
    def probe(self) -> str:
        """What reads the target where it runs."""
        return " ".join(self.hub.argv(*HARNESS, "probe", "--pid", str(self.target.pid)))

    def start(self, machine: Machine, *command: str, **env: str) -> Child:
        """A process on one of the machines."""
        child = Child.spawn(
            machine.argv(*command), log=self.folder / f"{machine.name}.log", name=machine.name, cwd=ROOT,
            env=environment(**{SECRET_VARIABLE: REMOTE}, **env),
        )  # fmt: skip
        self.stack.callback(child.stop, 0.5)
        return child

    def peers(self) -> Counter[str]:
        """Connections by the address that they came from."""
        return Counter((self.folder / "peers").read_text().split())


@contextmanager
def cluster(folder: Path, kind: str) -> Iterator[Cluster]:
    with machines(3) as (hub, others), ExitStack() as stack:
        argv = hub.argv(sys.executable, str(SERVICES / "far_sse.py"), str(PORT), kind, str(folder / "peers"))
        target = Child.spawn(argv, log=folder / "target.log", name="target", cwd=ROOT)
        stack.callback(target.stop, 0.5)
        wait_for(lambda: (folder / "peers").exists(), "the target")
        yield Cluster(hub, others[0], others[1:], target, folder, stack)


def guard(at: Cluster, *options: str) -> subprocess.Popen[str]:
    """``harness guard`` on the master's machine."""
    bind = f"{at.master.address}:{MASTER_PORT}"
    argv = at.master.argv(
        *HARNESS, "guard", "--url", f"{at.url}/e", "--probe-command", at.probe, "--processes", "0",
        "--remote-workers", str(len(at.generators)), "--bind", bind, *SMALL, "--out", str(at.folder / "run"),
        "--json", str(at.folder / "verdict.json"), *options,
    )  # fmt: skip
    child = subprocess.Popen(
        argv, cwd=at.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(**{SECRET_VARIABLE: REMOTE, "PYTHONPATH": str(ROOT)}),
    )  # fmt: skip
    at.stack.callback(child.kill)
    for machine in at.generators:
        at.start(machine, *WORKER, bind)
    return child


def verdict(at: Cluster) -> dict[str, Any]:
    found = json.loads((at.folder / "verdict.json").read_text())
    assert isinstance(found, dict)
    return found


def test_two_machines_load_a_third_and_there_is_one_verdict(tmp_path: Path) -> None:
    with cluster(tmp_path, "eventfd") as at:
        child = guard(at)
        out, said = child.communicate(timeout=200)
        assert child.returncode == 1, said
        assert "waiting for 2 remote workers at" in said
        found = verdict(at)
        assert found["outcome"] == "leaking"
        (leak,) = [one for one in found["findings"] if one["kind"] == "eventfd"]
        assert leak["rate"]["low"] <= 1.0 <= leak["rate"]["high"]
        assert found["target"]["pid"] == at.target.pid
        peers = at.peers()
        both = [peers[machine.address] for machine in at.generators]
        assert abs(both[0] - both[1]) <= len(found["trials"][0]["observations"]), (
            "an equal share of each cycle"
        )
        # The preflight request is the master's own.
        assert sum(both) == found["measured"]["connections"]
        assert REMOTE not in out + said + "".join(
            path.read_text(errors="replace") for path in (at.folder / "run").rglob("*") if path.is_file()
        )


@pytest.mark.soak(reason="13 s of a core; one verdict over machines is a short test")
def test_a_worker_that_is_lost_is_named_and_the_verdict_is_still_one(tmp_path: Path) -> None:
    with cluster(tmp_path, "healthy") as at:
        child = guard(at, "--sensitivity", "1/100")
        victim = at.generators[1]
        wait_for(lambda: at.peers()[victim.address] > 60, "streams of the worker that is to be lost")
        pids = subprocess.run(
            ["ip", "netns", "pids", victim.name], capture_output=True, text=True, check=True
        )
        for pid in pids.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        _, said = child.communicate(timeout=200)
        found = verdict(at)
        assert child.returncode == found["exit_code"]
        assert found["outcome"] in ("bounded", "inconclusive"), said
        lost = [one for one in found["warnings"] if "worker " in one]
        assert len(lost) == 1, found["warnings"]
        (number,) = set(pids.stdout.split()) & {
            one.split()[0] for one in lost[0].replace("/", " ").split(" ")
        } or {""}
        assert number, f"{lost[0]} names none of {pids.stdout.split()}"
        before = at.peers()[victim.address]
        assert at.peers()[at.generators[0].address] > before


def samples(at: Cluster) -> dict[str, Any]:
    """The figures of the Target tab, requested on the master's machine; empty until the tab is served."""
    code = (
        "import sys, urllib.request as r;"
        f"print(r.urlopen('http://127.0.0.1:{WEB_PORT}/target/samples', timeout=20).read().decode())"
    )
    done = subprocess.run(
        at.master.argv(sys.executable, "-c", code), capture_output=True, text=True, timeout=60
    )
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    assert isinstance(found, dict)
    return found


@pytest.mark.soak(reason="12 s of a core; the tab of one machine is a short test")
def test_the_target_tab_shows_the_sum_of_all_machines(tmp_path: Path) -> None:
    with cluster(tmp_path, "eventfd") as at:
        locust = (
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(ROOT / "locustfiles" / "dashboard.py"),
            "--host",
            at.url,
        )
        bind = at.master.address
        at.start(
            at.master, *locust, "--master", "--master-bind-host", bind, "--web-port", str(WEB_PORT), "--autostart",
            "--expect-workers", "2", "-u", "6", "-r", "6", "--probe-command", at.probe, SSE_PATHS="/a /b",
        )  # fmt: skip
        for machine in at.generators:
            at.start(machine, *locust, "--worker", "--master-host", bind, SSE_PATHS="/a /b")

        def settled() -> bool:
            state = samples(at)
            answered = state.get("streams", {}).get("answered", 0)
            return bool(
                answered > 60
                and not state["problem"]
                and state["classes"].get("eventfd", 0) > 60
                and 0.5 < (state["metrics"]["fds"]["growth"] or {"rate": 0.0})["rate"] < 1.5
            )

        wait_for(settled, "readings of the target beside the streams of both machines", within=90.0)
        state = samples(at)
        peers = at.peers()
        both = [peers[machine.address] for machine in at.generators]
        assert min(both) > 10
        # The tab is a second behind at most: the target has counted more by now, but neither machine alone that many.
        assert max(both) < state["streams"]["answered"] <= sum(at.peers().values())
