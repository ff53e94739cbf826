"""Each defect alone has the effect that its row describes; without it there is no such effect."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.edges.reference_process import PATHS, Client, Service, cycle, running, steady, wait_for

CHECKS = 4  # per tick
FAST = ("--time-scale", "0.01")  # ticks of 50 and 20 ms, timeouts of 0.3 s


def growth(service: Service, streams: int = 6, cycles: int = 3) -> tuple[Counter[str], int, Counter[str]]:
    """Descriptors by class and threads grown over some cycles after a first one, and the checks made, by what
    became of them."""
    cycle(service, streams)
    service.rest()
    before = steady(lambda: (service.descriptors(), service.threads()))
    checks = service.get("/debug/counters")["checks"]
    for _ in range(cycles):
        cycle(service, streams)
    service.rest()
    descriptors, threads = steady(lambda: (service.descriptors(), service.threads()))
    made = Counter(service.get("/debug/counters")["checks"])
    made.subtract(checks)
    assert made["finished"] >= cycles * streams * CHECKS
    descriptors.subtract(before[0])
    return +descriptors, threads - before[1], made


def test_the_bare_profile_does_not_grow(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", *FAST) as (service, broker):
        assert growth(service)[:2] == (Counter(), 0)
        timeouts = service.get("/debug/counters")["checks"]["timeouts"]
        assert service.stop() == 0
        assert broker.order("stats")["unanswered"] <= timeouts
        assert "dangling" not in service.text()


def test_socket_per_check_leaves_two_descriptors_per_check(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "socket-per-check", *FAST)
    with running(tmp_path / "log", *arguments, nofile=4096) as (service, broker):
        descriptors, threads, made = growth(service)
        checks = made["finished"]
        assert descriptors == {"eventfd": checks, "socket": checks}
        assert threads == 0
        opened = service.get("/debug/counters")["sockets"]
        assert opened["open"] == opened["opened"] > checks
        wait_for(lambda: broker.order("stats")["peers"] == opened["open"], "the broker sees every socket")
        assert service.stop() == 0
        dangling = re.findall(
            rf"^\[{service.pid}\]dangling 'DEALER' socket created at \S+:\d+$", service.text(), re.M
        )
        assert len(dangling) == opened["open"]
        assert "dangling sockets: cannot terminate ZMQ safely" in service.text()


def test_context_per_check_leaves_a_whole_context_per_check(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "context-per-check", *FAST)
    with running(tmp_path / "log", *arguments, nofile=8192) as (service, _):
        descriptors, threads, made = growth(service, streams=3)
        checks = made["finished"]
        assert descriptors == {"eventfd": 4 * checks, "eventpoll": 2 * checks, "socket": checks}
        assert threads == 2 * checks


def test_leak_on_error_grows_with_broker_timeouts_only(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "leak-on-error", *FAST, "--timeout", "0.2")
    with running(tmp_path / "log", *arguments, nofile=4096) as (service, broker):
        for silent in (False, True, False):
            broker.order("silence" if silent else "resume")
            descriptors, _, made = growth(service)
            # On a busy machine an answer may come after its time: that is a timeout as any other.
            timeouts = made["timeouts"]
            assert descriptors == +Counter(eventfd=timeouts, socket=timeouts)
            assert timeouts == made["finished"] if silent else timeouts < made["finished"] / 2


def test_abandoned_check_holds_threads_until_the_receive_times_out(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "abandoned-check", *FAST, "--timeout", "1.5")
    with running(tmp_path / "log", *arguments, silent=True) as (service, _):
        rest = steady(service.threads)
        clients = [Client(service, "/system/status/sse") for _ in range(6)]
        for client in clients:
            client.events(1)
        # More than one tick of each stream can use: the ticks are over, the receives are not.
        wait_for(lambda: service.threads() >= rest + 2 * 6 * CHECKS, "threads grow")
        for client in clients:
            client.leave()
        wait_for(lambda: service.threads() <= rest + 2, "threads fall")  # libzmq's own two remain
        counters = service.get("/debug/counters")["checks"]
        assert counters["timeouts"] == counters["started"] == counters["finished"]


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_unseen_disconnect_keeps_a_descriptor_and_a_handler_per_connection(
    tmp_path: Path, reset: bool
) -> None:
    # With a pool the number of ZeroMQ's descriptors is constant, although the handlers continue to ask for ever.
    arguments = ("--profile", "bare", "--defect", "unseen-disconnect", "--mitigation", "pool", *FAST)
    with running(tmp_path / "log", *arguments) as (service, _):
        rest = steady(service.descriptors)
        clients = [Client(service, PATHS[n % 2]) for n in range(10)]
        for client in clients:
            client.events(1)
            if reset:
                client.leave(reset=True)
            else:  # close() would send a RST in place of the FIN when an event has just come
                client.socket.shutdown(socket.SHUT_WR)

        def kept() -> bool:
            # At least: the connection of the readiness check may have closed meanwhile.
            return service.close_wait() == 0 if reset else service.close_wait() >= 10

        wait_for(kept, "the kernel knows it")
        grown = steady(service.descriptors)
        grown.subtract(rest)
        assert +grown == {"socket": 10}
        assert kept(), "one was closed meanwhile"
        streams = service.get("/debug/counters")["streams"]
        assert streams == {"opened": 10, "closed": 0, "open": 10}
        for client in clients:
            client.leave()
        assert service.stop() == 0, "shutdown ends them all the same"


def test_no_flush_sends_nothing_at_all(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", "--defect", "no-flush", *FAST) as (service, _):
        client = Client(service, "/dashboard/sse")
        wait_for(lambda: service.get("/debug/counters")["events"]["sent"] >= 10, "the handler writes")
        assert client.silent_for(0.1), client.seen
        client.leave()
        wait_for(lambda: service.get("/debug/counters")["streams"]["open"] == 0, "the leave is seen")


def test_unbounded_buffer_keeps_what_stalled_readers_did_not_take(tmp_path: Path) -> None:
    intervals = ("--dashboard-interval", "0.02", "--status-interval", "0.02")
    arguments = ("--profile", "bare", "--defect", "unbounded-buffer", *intervals)
    with running(tmp_path / "log", *arguments) as (service, _):
        cycle(service, 6)
        # Twice: what was freed would be used again, and not grow a second time.
        for _ in range(2):
            before = steady(service.resident)
            stalled = [Client(service, "/dashboard/sse", receive_buffer=8192) for _ in range(4)]
            sent = service.get("/debug/counters")["events"]["sent"]
            wait_for(
                lambda sent=sent: service.get("/debug/counters")["events"]["sent"] > sent + 4 * 60,
                "60 events each",
            )
            for client in stalled:
                client.leave(reset=True)
            wait_for(lambda: service.get("/debug/counters")["streams"]["open"] == 0, "the leave is seen")
            grown = steady(service.resident) - before
            assert grown > 4 * 40 * 32_768, f"{grown} bytes"


def test_unbounded_history_keeps_four_results_per_event(tmp_path: Path) -> None:
    for defects, kept in ((("--defect", "unbounded-history"), None), ((), CHECKS)):
        with running(tmp_path / "log", "--profile", "bare", *defects, *FAST) as (service, _):
            cycle(service, 6, events=5)
            wait_for(lambda s=service: s.get("/debug/counters")["streams"]["open"] == 0, "all left")
            counters = service.get("/debug/counters")
            held, finished = counters["history"]["kept"], counters["checks"]["finished"]
            if kept:
                assert held == kept
                continue
            assert held >= 6 * 5 * CHECKS
            # The results of a tick whose client disconnected meanwhile are not counted: at most one tick a stream.
            assert 0 <= finished - held <= 6 * CHECKS


def test_linger_forever_blocks_the_shutdown(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", "--defect", "linger-forever", *FAST) as (service, _):
        cycle(service, 2)
        service.process.terminate()
        wait_for(lambda: "Context termination timeout" in service.text(), "the hang is put into words")
        assert service.process.poll() is None
        assert service.stop(0.1) == -9


def test_double_close_logs_that_the_second_close_fails(tmp_path: Path) -> None:
    for defects, failures in ((("--defect", "double-close"), 1), ((), 0)):
        with running(tmp_path / "log", "--profile", "bare", *defects, *FAST) as (service, _):
            cycle(service, 2)
            assert service.stop() == 0
            assert service.text().count("Socket close failure: zmq_close of a closed DEALER: ") == failures


def test_every_defect_has_a_test() -> None:
    text = Path(__file__).read_text() + (Path(__file__).parent / "test_reference_crashes.py").read_text()
    for name in os.listdir(Path(__file__).parents[2] / "harness" / "reference" / "defects"):
        if name.endswith(".py") and name != "__init__.py":
            assert name.removesuffix(".py").replace("_", "-") in text
