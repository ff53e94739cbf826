"""The figures of plain Locust runs: of one process, of a master with its workers, and of what the target holds."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.target.spawn import free_port
from tests.edges.command_line import DEADLINE, wait_for
from tests.edges.servers.counting_server import CountingServer
from tests.edges.test_locustfiles import locust, service
from tests.export.collector import collector
from tests.export.test_exports import Seen, scraped

HEADLESS = ("--headless", "-u", "4", "-r", "4", "--only-summary")
pytestmark = pytest.mark.timeout(200)


@contextlib.contextmanager
def running(folder: Path, *command: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    child.wait(DEADLINE)
                except subprocess.TimeoutExpired:
                    child.kill()


def look(address: str) -> Seen:
    """The figures, none before they are served."""
    try:
        return scraped(address)
    except OSError:
        return {}


def total(seen: Seen, name: str) -> float:
    return sum(seen.get(name, {}).values())


def test_a_run_publishes_its_streams_and_what_the_target_holds(tmp_path: Path) -> None:
    port = free_port()
    with service(tmp_path) as (at, child), collector() as far:
        command = locust("dashboard", at, *HEADLESS, "--prometheus", str(port), "--otlp", far.url)
        with running(tmp_path, *command, "--target-pid", str(child.pid), SSE_PATHS="/a /b") as run:
            address = f"http://127.0.0.1:{port}/metrics"
            wait_for(lambda: total(look(address), "harness_streams_answered_total") >= 4, "answered streams")
            wait_for(lambda: total(look(address), "harness_fds_by_class") > 0, "a census of the target")
            # A machine that is held up has gaps.
            wait_for(lambda: look(address)["harness_target_up"] == {(): 1.0}, "a reading")
            wait_for(lambda: total(look(address), "harness_fds") > 3, "a reading")
            # Answered streams count at once, connects with the statistics of Locust, every second.
            wait_for(lambda: total(look(address), "harness_streams_opened_total") >= 4, "opened streams")
            seen = look(address)
            assert any(f"pid {child.pid}" in labels for labels in seen["harness_target_info"])
            assert total(seen, "harness_events_total") >= total(seen, "harness_streams_answered_total")
            assert "harness_verdict" not in seen
            assert "harness_workers" not in seen
            run.send_signal(signal.SIGTERM)
            assert run.stderr
            said = run.stderr.read()
            run.wait(DEADLINE)
        assert "harness:" not in said
        assert "Traceback" not in said
        there = far.points()
        assert sum(there["harness_streams_answered"].values()) >= total(
            seen, "harness_streams_answered_total"
        )
        assert far.resource()["harness.target"] == f"http://127.0.0.1:{at}"


def test_a_master_publishes_the_sum_of_its_workers_and_who_is_missing(tmp_path: Path) -> None:
    port, bind = free_port(), str(free_port())
    secret = {"HARNESS_SWARM_SECRET": "a secret of more than 32 characters"}
    with CountingServer(delay=0.02, timeout=60.0) as server:
        base = locust("status", server.port)
        master = [*base, "--master", "--master-bind-port", bind, "--expect-workers", "2", *HEADLESS]
        worker = [*base, "--worker", "--master-port", bind]
        address = f"http://127.0.0.1:{port}/metrics"
        with (
            running(tmp_path, *master, "--prometheus", str(port), **secret),
            running(tmp_path, *worker, "--prometheus", str(port), **secret) as one,
            running(tmp_path, *worker, **secret),
        ):
            wait_for(lambda: total(look(address), "harness_streams_open") == 4, "the streams of both workers")
            assert server.served(4)
            assert look(address)["harness_workers"]["running",] == 2
            one.kill()
            wait_for(lambda: look(address)["harness_workers"]["missing",] == 1, "the lost worker")
            assert look(address)["harness_workers"]["running",] == 1


def test_a_port_that_is_taken_ends_locust_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            locust("status", 1, *HEADLESS, "--prometheus", place),
            cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
    assert done.returncode == 2
    assert f"harness: --prometheus '{place}': Address already in use; expected PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("option", "text"), [("--prometheus", "localhost"), ("--otlp", "collector:4317")])
def test_a_place_that_is_invalid_is_an_error_of_the_command_line(
    tmp_path: Path, option: str, text: str
) -> None:
    done = subprocess.run(
        locust("status", 1, *HEADLESS, option, text),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode != 0
    assert f"argument {option}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_collector_that_is_down_is_one_line_of_the_log(tmp_path: Path) -> None:
    with CountingServer(delay=0.0, timeout=60.0) as server:
        command = locust("status", server.port, *HEADLESS, "--otlp", f"http://127.0.0.1:{free_port()}")
        with running(tmp_path, *command) as run:
            wait_for(lambda: server.served(4), "streams")
            run.send_signal(signal.SIGTERM)
            assert run.stderr
            said = run.stderr.read()
    assert said.count("the export of figures: ") == 1
    assert "exports to 127.0.0.1 failed: connection refused" in said
    assert "Traceback" not in said


def test_secrets_of_the_address_are_in_no_label() -> None:
    from harness.swarm.target_feed import plain_address

    assert plain_address("http://user:sesame@host:8000/x?token=sesame") == "http://host:8000"
