"""The two mechanisms really crash the service: exhaustion, and a socket that is closed while other threads use it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.edges.reference_process import PATHS, Client, Service, cycle, running

QUICK = ("--time-scale", "0.01")  # timeouts of 0.3 s
SIGNALS = (-6, -8, -11)  # SIGABRT, SIGFPE, SIGSEGV
LIBZMQ = re.compile(r"\(src/\w+\.[ch]pp:\d+\)|Fatal Python error: ")


def hold(service: Service, streams: int, deadline: float = 60.0) -> int:
    """Open streams and keep them until the service exits; returns its return code."""
    clients: list[Client] = []
    try:
        with suppress(ConnectionError):  # it may exit before the last one connects
            for number in range(streams):
                clients.append(Client(service, PATHS[number % 2]))
        return service.wait_dead(deadline)
    finally:
        for client in clients:
            client.leave()


def test_original_crashes_by_exhaustion(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "original", *QUICK, nofile=256) as (service, _):
        assert hold(service, 6) == 2
        log = service.text()
        assert "panic: ZMQError: Too many open files" in log
        dangling = re.findall(rf"^\[{service.pid}\]dangling 'DEALER' socket created at \S+:\d+$", log, re.M)
        assert len(dangling) > 80
        assert "dangling sockets: cannot terminate ZMQ safely" in log


@pytest.mark.parametrize("arguments", [("upstream",), ("bare", "--defect", "shared-socket")], ids=" ".join)
def test_shared_socket_crashes_in_libzmq(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with running(tmp_path / "log", "--profile", *arguments, *QUICK, silent=True) as (service, _):
        code = hold(service, 10)
        assert code in SIGNALS
        # If two threads fault at once, the second may end the process before the first has logged anything.
        assert code != -6 or LIBZMQ.search(service.text()), service.text()


def test_upstream_crashes_every_time(tmp_path: Path) -> None:
    def once(number: int) -> int:
        with running(tmp_path / f"log{number}", "--profile", "upstream", *QUICK, silent=True) as (service, _):
            return hold(service, 10)

    with ThreadPoolExecutor(2) as both:
        codes = list(both.map(once, range(6)))
    assert all(code in SIGNALS for code in codes), codes


@pytest.mark.parametrize("profile", ["solution-1", "solution-2", "solution-3"])
def test_the_attempted_solutions_still_crash(tmp_path: Path, profile: str) -> None:
    with running(tmp_path / "log", "--profile", profile, *QUICK, silent=True) as (service, _):
        assert hold(service, 10) in SIGNALS


@pytest.mark.soak(reason="6 s of a core; `harness reproduce` shows each of these profiles")
def test_a_silent_broker_is_used_only_to_separate_drivers(tmp_path: Path) -> None:
    """With the pool neither crashes: the cause of both crashes is the socket that threads share without a lock."""
    for base in ("upstream", "original"):
        arguments = ("--profile", base, "--mitigation", "pool", *QUICK)
        with running(tmp_path / base, *arguments, silent=True, nofile=512) as (service, _):
            cycle(service, 4, events=0)
            client = Client(service, "/dashboard/sse")
            counters = service.get("/debug/counters")
            while counters["checks"]["timeouts"] < 60:
                counters = service.get("/debug/counters")
            client.leave()
            assert service.process.poll() is None
            assert counters["sockets"]["open"] == 8


def test_with_isolate_the_child_crashes_and_the_service_survives(tmp_path: Path) -> None:
    arguments = ("--profile", "upstream", "--mitigation", "isolate", *QUICK)
    with running(tmp_path / "log", *arguments, silent=True) as (service, _):
        first = service.tree()[1:]
        assert len(first) == 1
        clients = [Client(service, "/system/status/sse") for _ in range(10)]
        while service.tree()[1:] in (first, []):
            assert service.get("/api/system/status")["services"] == 4
        for client in clients:
            client.leave()
        assert LIBZMQ.search(service.text()), "the child's end is in the log"
        assert re.search(r"isolate: the ZeroMQ process \d+ ended with status -\d+", service.text())
