"""The small services behave as their names say: read from /proc, without a guard and without the judge."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.target.spawn import fill_port
from tests.sabotage.case import Case, Green

REQUEST = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
DEADLINE = 20.0  # seconds
BURST = 0.8  # seconds between two bursts
RUNTIMES = ("asyncio", "thread", "go", "node", "java")
TOOLS = {"go": "go", "node": "node", "java": "javac"}


def eventually(condition: Callable[[], bool], words: str, seconds: float = DEADLINE) -> None:
    """Wait until a condition holds; fails with ``words`` when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, words
        time.sleep(0.05)


@dataclass(slots=True)
class Service:
    """A running service. before: its descriptors once it listens."""

    child: subprocess.Popen[bytes]
    port: int
    before: int = 0

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def grown(self) -> int:
        return self.fds() - self.before

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.child.pid}/task"))

    def anonymous(self) -> int:
        """Bytes of anonymous memory."""
        text = Path(f"/proc/{self.child.pid}/smaps_rollup").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("Anonymous:")]
        return int(line.split()[1]) * 1024

    def connect(self, *, small: bool = False) -> socket.socket:
        """A client that has sent its request. small: its kernel takes in little of what it does not read."""
        client = socket.socket()
        client.settimeout(10)
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
        client.connect(("127.0.0.1", self.port))
        client.sendall(REQUEST)
        return client

    def ask(self) -> int:
        """One client: it reads the beginning of the response and leaves. The status."""
        with self.connect() as client:
            return int(client.recv(4096).split()[1])

    def visit(self, count: int) -> list[int]:
        """So many clients, ten at once."""
        found = []
        for start in range(0, count, 10):
            clients = [self.connect() for _ in range(min(10, count - start))]
            for client in clients:
                found.append(int(client.recv(4096).split()[1]))
                client.close()
        return found


@contextlib.contextmanager
def running(runtime: str, behaviour: str, *, nofile: int = 0, warm: bool = True) -> Iterator[Service]:
    """A service of this runtime with this behaviour."""
    if (tool := TOOLS.get(runtime)) and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port = made.getsockname()[1]
    command = [fill_port(word, port) for word in Case(runtime, behaviour, Green()).command]
    if nofile:
        command = ["prlimit", f"--nofile={nofile}:{nofile}", *command]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        service = Service(child, port)

        def listens() -> bool:
            assert child.poll() is None, f"{behaviour}: exited with {child.returncode}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        eventually(listens, f"{runtime} {behaviour} does not listen")
        previous = -1
        while (now := service.fds()) != previous:  # the connection of the check is closed
            previous = now
            time.sleep(0.3)
        service.before = now
        yield service
    finally:
        child.kill()
        child.wait()


def runtimes(*names: str) -> list[object]:
    """One parameter each; those beyond the first belong to the long tests."""
    return [pytest.param(name, marks=[] if i == 0 else pytest.mark.soak) for i, name in enumerate(names)]


@pytest.mark.parametrize("runtime", runtimes("asyncio", "thread", "go", "node", "java"))
@pytest.mark.parametrize("behaviour", ["release-2", "sweep-2"])
def test_a_late_release_is_retained_and_then_given_back(runtime: str, behaviour: str) -> None:
    if (runtime, behaviour) == ("java", "sweep-2"):
        pytest.skip("the Java service has no sweep")
    with running(runtime, behaviour) as service:
        service.visit(30)
        eventually(lambda: service.grown() >= 25, "nothing is retained", 2)
        eventually(lambda: service.grown() <= 2, "nothing is released", 8)


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go", "node"))
def test_what_has_expired_goes_with_the_next_request(runtime: str) -> None:
    with running(runtime, "expired-1") as service:
        service.visit(30)
        eventually(lambda: service.grown() >= 25, "nothing is retained", 2)
        time.sleep(1.5)  # longer than it lives
        assert service.grown() >= 25, "there is no timer"
        service.visit(1)
        eventually(lambda: service.grown() <= 3, "nothing is released", 5)


def test_a_leak_beside_a_late_release_stays() -> None:
    with running("asyncio", "release-1+pipe@connection") as service:
        service.visit(20)
        eventually(lambda: service.grown() >= 50, "nothing is retained", 2)
        eventually(lambda: service.grown() <= 42, "nothing is released", 6)
        time.sleep(1.5)  # longer than the release takes
        # The check that it listens may have counted one.
        assert service.grown() >= 39, "what leaks was given back"


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go", "node", "java"))
def test_a_pool_gains_the_same_with_each_burst(runtime: str) -> None:
    behaviour = "bursts-5" if runtime == "java" else "bursts-5-12"
    with running(runtime, behaviour) as service:
        read = service.threads if runtime == "java" else service.fds
        service.visit(10)
        time.sleep(BURST)
        base = read()
        service.visit(10)
        eventually(lambda: read() == base + 5, f"{read()} after {base}: not 5 more", 5)
        time.sleep(BURST)
        service.visit(30)
        wanted = 10 if runtime == "java" else 7
        eventually(lambda: read() == base + wanted, f"{read()} after {base}: not {wanted} more", 5)


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go", "node"))
def test_tenants_are_of_a_finite_number(runtime: str) -> None:
    with running(runtime, "tenants-8") as service:
        service.visit(150)
        eventually(lambda: service.grown() == 8, f"{service.grown()} for 8 tenants", 5)


def test_a_janitor_frees_by_count() -> None:
    with running("asyncio", "janitor-by-count-40") as service:
        service.visit(30)
        eventually(lambda: service.grown() == 30, "nothing is retained", 5)
        service.visit(20)
        eventually(lambda: service.grown() == 10, "nothing is freed", 5)


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go", "node"))
def test_a_cap_is_reached_and_then_only_500s_come(runtime: str) -> None:
    with running(runtime, "capped-20") as service:
        assert service.visit(30) == [200] * 20 + [500] * 10
        eventually(lambda: service.grown() == 20, "not one descriptor per request", 5)


@pytest.mark.parametrize("runtime", runtimes("thread", "go"))
def test_plain_requests_meet_the_cap_too(runtime: str) -> None:
    with running(runtime, "capped-requests-5") as service:
        assert [service.ask() for _ in range(8)] == [200] * 5 + [500] * 3


@pytest.mark.parametrize("runtime", runtimes("thread", "go"))
def test_an_exhausted_pool_answers_no_client(runtime: str) -> None:
    with running(runtime, "exhausted-4" if runtime == "go" else "exhausted-5") as service:
        # The check that it listens has taken a thread of the Python service for good.
        assert service.visit(4) == [200] * 4
        with service.connect() as client:
            client.settimeout(1.0)
            with pytest.raises(TimeoutError):
                client.recv(4096)
        assert service.grown() >= 4


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go"))
def test_a_stream_that_gets_nothing_from_a_pool_is_answered_and_waits(runtime: str) -> None:
    with running(runtime, "lent-5") as service:
        assert service.visit(8) == [200] * 8
        eventually(lambda: service.grown() == 5, "not one descriptor for each of five streams", 5)
        with service.connect() as client:
            client.settimeout(1.0)
            assert b" 200 " in client.recv(4096)
            with pytest.raises(TimeoutError):
                client.recv(4096)


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go"))
def test_an_exhausted_table_of_descriptors_is_answered_by_503(runtime: str) -> None:
    leak = "pipe@connection" if runtime == "asyncio" else "file@connection"
    with running(runtime, leak, nofile=64) as service:
        assert service.ask() == 200
        end, statuses = time.monotonic() + DEADLINE, [200]
        while statuses[-1] != 503 and time.monotonic() < end:
            with contextlib.suppress(OSError, IndexError):
                statuses.append(service.ask())
        assert statuses[-1] == 503
        assert service.fds() >= 60


@pytest.mark.parametrize(
    ("runtime", "behaviour"),
    [
        ("asyncio", "held"),
        pytest.param("go", "held", marks=pytest.mark.soak),
        pytest.param("node", "held", marks=pytest.mark.soak),
        pytest.param("node", "held-buffers", marks=pytest.mark.soak),
    ],
)
def test_memory_of_a_stream_is_released_with_it(runtime: str, behaviour: str) -> None:
    with running(runtime, behaviour) as service:
        service.visit(10)
        low = service.anonymous()
        clients = [service.connect() for _ in range(20)]
        eventually(lambda: service.anonymous() - low > 8e6, "nothing grows while connected")
        for client in clients:
            client.close()
        time.sleep(0.5)
        high = service.anonymous()
        service.visit(20)
        assert service.anonymous() - high < 4e6, "it goes on growing without these clients"


@pytest.mark.parametrize("runtime", runtimes("asyncio", "node"))
def test_only_an_unbounded_buffer_grows_for_readers_that_do_not_read(runtime: str) -> None:
    grown = {}
    for behaviour in ("unbounded", "bounded"):
        with running(runtime, behaviour) as service:
            service.visit(10)
            low = service.anonymous()
            clients = [service.connect(small=True) for _ in range(10)]
            time.sleep(3)
            grown[behaviour] = service.anonymous() - low
            for client in clients:
                client.close()
    assert grown["unbounded"] > 12e6, grown
    assert grown["bounded"] < grown["unbounded"] / 3, grown


@pytest.mark.parametrize("runtime", runtimes("thread", "go"))
def test_a_slow_tick_notices_a_departure_by_a_write(runtime: str) -> None:
    with running(runtime, "slow-tick-1") as service:
        service.visit(10)
        assert service.grown() >= 10, "the sockets are open until a write fails"
        eventually(lambda: service.grown() <= 1, "the departures are not noticed", 8)


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go", "node", "java"))
def test_an_answer_that_is_an_error_leaks_or_not(runtime: str) -> None:
    with running(runtime, "unhealthy") as service:
        assert service.visit(10) == [503] * 10
        eventually(lambda: service.grown() == 10, f"{service.grown()} for 10 requests", 5)
    with running(runtime, "refusing") as service:
        assert service.visit(10) == [503] * 10
        eventually(lambda: service.grown() <= 0, f"{service.grown()} for 10 requests", 5)


@pytest.mark.parametrize("runtime", runtimes("asyncio", "go"))
def test_refused_requests_retain_nothing_and_answered_ones_do(runtime: str) -> None:
    leak = "eventfd@answered" if runtime == "asyncio" else "file@answered"
    with running(runtime, f"rate-limited+{leak}") as service:
        statuses = service.visit(30)
        assert sorted(set(statuses)) == [200, 429]
        eventually(lambda: service.grown() == statuses.count(200), "not one per answered stream", 5)


@pytest.mark.parametrize("runtime", runtimes(*RUNTIMES))
def test_a_wrong_name_ends_the_service(runtime: str) -> None:
    if (tool := TOOLS.get(runtime)) and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    command = [fill_port(word, 1) for word in Case(runtime, "relaese-10", Green()).command]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert b"relaese-10" in done.stderr
