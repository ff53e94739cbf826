"""Each defect alone shows what its table row says must be seen; without it, nothing of the kind."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.edges.reference_process import Client, Service, cycle, running, steady, wait_for

CHECKS = 4  # per tick
FAST = ("--time-scale", "0.01")  # ticks of 50 and 20 ms, timeouts of 0.3 s


def growth(service: Service, streams: int = 6, cycles: int = 3) -> tuple[Counter[str], int, int]:
    """Descriptors by class and threads grown over some cycles after a first one, and the checks made."""
    cycle(service, streams)
    before = steady(lambda: (service.descriptors(), service.threads()))
    checks = service.get("/debug/counters")["checks"]["finished"]
    for _ in range(cycles):
        cycle(service, streams)
    descriptors, threads = steady(lambda: (service.descriptors(), service.threads()))
    made = service.get("/debug/counters")["checks"]["finished"] - checks
    assert made >= cycles * streams * CHECKS
    descriptors.subtract(before[0])
    return +descriptors, threads - before[1], made


def test_bare_grows_by_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", *FAST) as (service, broker):
        assert growth(service)[:2] == (Counter(), 0)
        assert service.stop() == 0
        stats = broker.order("stats")
        assert stats["unanswered"] == 0
        assert "dangling" not in service.text()


def test_socket_per_check_leaves_two_descriptors_per_check(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "socket-per-check", *FAST)
    with running(tmp_path / "log", *arguments, nofile=4096) as (service, broker):
        descriptors, threads, checks = growth(service)
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
        descriptors, threads, checks = growth(service, streams=3)
        assert descriptors == {"eventfd": 4 * checks, "eventpoll": 2 * checks, "socket": checks}
        assert threads == 2 * checks


def test_leak_on_error_grows_with_broker_timeouts_only(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "leak-on-error", *FAST, "--timeout", "0.1")
    with running(tmp_path / "log", *arguments, nofile=4096) as (service, broker):
        assert growth(service)[0] == Counter()
        broker.order("silence")
        counters = service.get("/debug/counters")
        descriptors, _, checks = growth(service)
        assert descriptors == {"eventfd": checks, "socket": checks}
        timeouts = service.get("/debug/counters")["checks"]["timeouts"]
        assert timeouts - counters["checks"]["timeouts"] >= checks
        broker.order("resume")
        assert growth(service)[0] == Counter()


def test_abandoned_check_holds_threads_until_the_receive_times_out(tmp_path: Path) -> None:
    arguments = ("--profile", "bare", "--defect", "abandoned-check", *FAST, "--timeout", "1.5")
    with running(tmp_path / "log", *arguments, silent=True) as (service, _):
        rest = steady(service.threads)
        cycle(service, 6)
        assert service.threads() >= rest + 6 * CHECKS, "the ticks are over, the receives are not"
        wait_for(lambda: service.threads() <= rest + 2, "threads fall")  # libzmq's own two remain
        counters = service.get("/debug/counters")["checks"]
        assert counters["timeouts"] == counters["started"] == counters["finished"]


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_unseen_disconnect_keeps_a_descriptor_and_a_handler_per_connection(
    tmp_path: Path, reset: bool
) -> None:
    # A pool keeps ZeroMQ's descriptors out of the picture: the handlers go on asking for ever.
    arguments = ("--profile", "bare", "--defect", "unseen-disconnect", "--mitigation", "pool", *FAST)
    with running(tmp_path / "log", *arguments) as (service, _):
        rest = steady(service.descriptors)
        cycle(service, 10, reset=reset)
        grown = steady(service.descriptors)
        grown.subtract(rest)
        assert +grown == {"socket": 10}
        streams = service.get("/debug/counters")["streams"]
        assert streams == {"opened": 10, "closed": 0, "open": 10}
        # The kernel's answer to a write that crossed the leave turns CLOSE_WAIT into no row at all.
        assert service.close_wait() == 0 if reset else service.close_wait() >= 8
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
            # The results of a tick whose client left meanwhile are nobody's: at most one tick a stream.
            assert 0 <= finished - held <= 6 * CHECKS


def test_linger_forever_hangs_the_shutdown(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--profile", "bare", "--defect", "linger-forever", *FAST) as (service, _):
        cycle(service, 2)
        service.process.terminate()
        wait_for(lambda: "Context termination timeout" in service.text(), "the hang is put into words")
        assert service.process.poll() is None
        began = time.monotonic()
        assert service.stop(0.1) == -9
        assert time.monotonic() - began < 5


def test_every_defect_has_a_test() -> None:
    text = Path(__file__).read_text() + (Path(__file__).parent / "test_reference_crashes.py").read_text()
    for name in os.listdir(Path(__file__).parents[2] / "harness" / "reference" / "defects"):
        if name.endswith(".py") and name != "__init__.py":
            assert name.removesuffix(".py").replace("_", "-") in text
