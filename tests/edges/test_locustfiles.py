"""The locustfiles under plain Locust: streams in its tables, the target in its web UI."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.process.child import Child
from harness.target.listening import listens_at
from harness.target.ready import wait_ready
from harness.target.spawn import free_port
from tests.edges.command_line import DEADLINE, table, wait_for
from tests.edges.command_line import locust as run_locust
from tests.edges.servers.counting_server import CountingServer

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "tests" / "services" / "plain_sse.py"
README = ROOT / "locustfiles" / "README.md"
NAMES = ("dashboard", "status", "churn")


@contextlib.contextmanager
def service(tmp_path: Path) -> Iterator[tuple[int, Child]]:
    port = free_port()
    with Child.spawn(
        [sys.executable, str(SERVICE), str(port)], log=tmp_path / "log", name="service"
    ) as child:
        wait_ready(f"http://127.0.0.1:{port}/", child, timeout=DEADLINE)
        yield port, child


def locust(name: str | Path, port: int, *more: str) -> list[str]:
    file = name if isinstance(name, Path) else ROOT / "locustfiles" / f"{name}.py"
    return [sys.executable, "-m", "locust", "-f", str(file), "--host", f"http://127.0.0.1:{port}", *more]


HEADLESS = ("--headless", "-u", "3", "-r", "3", "--json", "--only-summary")


def run(
    command: list[str], folder: Path, server: CountingServer, streams: int = 3, **env: str
) -> tuple[Counter[str], int, str]:
    """Requests by type, failures, and Locust's output, of a run that ends once the server has served ``streams``."""
    done = run_locust(command, folder, until=lambda _: server.served(streams), **env)
    counted: Counter[str] = Counter()
    rows = table(done.stdout)
    for row in rows:  # one row for each type and path
        counted[row["method"]] += row["num_requests"]
    return counted, sum(row["num_failures"] for row in rows), done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_streams_appear_in_locusts_statistics(name: str, tmp_path: Path) -> None:
    """The table has exactly the connections that the server has counted itself."""
    with CountingServer(delay=0.0, timeout=60.0) as server:
        counted, failures, said = run(locust(name, server.port, *HEADLESS), tmp_path, server)
        count = server.settle()
    assert counted["connect"] == count.accepted >= 3, said
    assert counted["first event"] >= 3
    assert counted["life"] <= count.accepted, (
        "streams that Stop cuts short are neither successes nor failures"
    )
    assert counted["life"] == 0 or name != "status", "a wallboard leaves for no other reason than Stop"
    assert failures == 0, said
    assert set(counted) <= {"connect", "headers", "first event", "gap", "life"}


def test_the_report_of_a_run_without_a_web_ui_has_the_target_section(tmp_path: Path) -> None:
    with CountingServer(delay=0.0, timeout=60.0) as server:
        command = locust("status", server.port, *HEADLESS, "--html", "{u} users.html")
        # A shell's background job ignores SIGINT, and its children inherit that.
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as child:
            try:
                wait_for(lambda: child.poll() is not None or server.served(3), "streams")
                child.send_signal(signal.SIGINT)  # Locust writes no report when SIGTERM ends it
                _, said = child.communicate(timeout=DEADLINE)
            finally:
                child.kill()
    report = (tmp_path / "3 users.html").read_text()
    assert report.count('<section id="harness-target"><h2>Target</h2>') == 1, said.decode()
    assert report.rstrip().endswith("</html>")
    for metric in ("Descriptors", "Threads", "Memory"):
        assert f"<tr><td>{metric}</td>" in report


def test_paths_of_any_service_can_be_named(tmp_path: Path) -> None:
    with CountingServer(delay=0.0, timeout=60.0) as server:
        run(locust("dashboard", server.port, *HEADLESS), tmp_path, server, SSE_PATHS="/one /two")
        seen = set(server.settle().by_path)
    assert seen
    assert seen <= {"/one", "/two"}


def test_several_processes_report_every_stream_to_their_master(tmp_path: Path) -> None:
    with CountingServer(delay=0.0, timeout=60.0) as server:
        port = str(free_port())
        where = ("--master-bind-port", port, "--master-port", port)
        command = locust("churn", server.port, *HEADLESS, "--processes", "2", *where)
        counted, failures, said = run(command, tmp_path, server, 4, SSE_PATH="/any")
        count = server.settle()
    assert set(count.by_path) == {"/any"}
    assert counted["connect"] == count.accepted >= 4, said
    assert 1 <= counted["life"] <= count.accepted
    assert failures == 0, said


def test_the_example_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    file = tmp_path / "mine.py"
    file.write_text(code)
    with CountingServer(delay=0.0, timeout=60.0) as server:
        command = locust(file, server.port, *HEADLESS, "--stall-after", "30")
        counted, failures, said = run(command, tmp_path, server)
        (request, *_) = server.settle().requests
    assert counted["first event"] == 3, said
    assert failures == 0
    assert b"GET /events HTTP/1.1" in request
    assert b"X-Tenant: 7\r\nAuthorization: Bearer token" in request


OTHERS = pytest.mark.soak(
    reason="the same web UI; test_streams_appear_in_locusts_statistics runs every locustfile"
)


@pytest.mark.parametrize("name", [NAMES[0], *(pytest.param(name, marks=OTHERS) for name in NAMES[1:])])
def test_the_web_ui_starts_the_users_and_shows_the_target(name: str, tmp_path: Path) -> None:
    with service(tmp_path) as (port, child):
        web = free_port()
        command = locust(name, port, "--web-port", str(web))
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as ui:
            try:
                follow(f"http://127.0.0.1:{web}/target/samples", child.pid)
                assert listens_at(ui.pid) == (f"127.0.0.1:{web}",), "loopback unless told otherwise"
                if name == NAMES[0]:
                    press_from_elsewhere(f"http://127.0.0.1:{web}")
                start(f"http://127.0.0.1:{web}/swarm", port)
                wait_for_events(f"http://127.0.0.1:{web}/stats/requests/csv")
                if name == NAMES[0]:
                    look_at_the_tab(f"http://127.0.0.1:{web}")
            finally:
                ui.send_signal(signal.SIGTERM)
                ui.wait(DEADLINE)


def look_at_the_tab(web: str) -> None:
    page = urllib.request.urlopen(f"{web}/target", timeout=DEADLINE).read().decode()
    assert "What the target holds" in page
    home = urllib.request.urlopen(f"{web}/", timeout=DEADLINE).read().decode()
    assert '<script src="/target/tab.js"></script></body>' in home
    assert b'"/target"' in urllib.request.urlopen(f"{web}/target/tab.js", timeout=DEADLINE).read()
    state = json.loads(urllib.request.urlopen(f"{web}/target/samples", timeout=DEADLINE).read())
    assert [mark["what"] for mark in state["marks"]] == ["start"]
    assert state["streams"]["answered"] >= 1
    assert all(isinstance(state["metrics"]["fds"][key], int) for key in ("before", "peak", "now"))
    assert sum(state["classes"].values()) > 0
    report = urllib.request.urlopen(f"{web}/stats/report?download=1", timeout=DEADLINE).read().decode()
    assert '<section id="harness-target"><h2>Target</h2>' in report
    assert "time since the test started (s)" in report


def press_from_elsewhere(web: str) -> None:
    """A page of another site presses the buttons, reads a figure, and comes under a name of its own."""
    other = {"Origin": "http://evil.example"}
    for path, data, headers in (
        ("/swarm", b"user_count=1&spawn_rate=1", other),
        ("/swarm", b"user_count=1&spawn_rate=1", {}),
        ("/stop", b"", {**other, "Sec-Fetch-Site": "cross-site"}),
        ("/target/samples", None, {"Host": "evil.example"}),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(web + path, data, headers), timeout=DEADLINE)
    for path in ("/target", "/target/samples", "/", "/stats/requests"):
        request = urllib.request.Request(web + path, headers=other)
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            assert [name for name in answer.headers if name.lower().startswith("access-control")] == []


def start(url: str, port: int) -> None:
    """What the Start button sends."""
    form = {"user_count": 2, "spawn_rate": 2, "host": f"http://127.0.0.1:{port}"}
    data = urllib.parse.urlencode(form).encode()
    origin = {"Origin": url.removesuffix("/swarm")}
    request = urllib.request.Request(url, data=data, headers=origin)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        assert json.load(answer)["success"] is True


def wait_for_events(url: str) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            rows = list(csv.DictReader(answer.read().decode().splitlines()))
        if any(row["Type"] == "first event" and int(row["Request Count"]) for row in rows):
            assert all(int(row["Failure Count"]) == 0 for row in rows)
            return
        time.sleep(0.05)
    raise AssertionError("no stream ever stood in Locust's table")


def follow(url: str, pid: int) -> None:
    """Until the newest sample has the descriptors that the target has now."""
    end, seen = time.monotonic() + DEADLINE, None
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            samples = json.loads(urllib.request.urlopen(url, timeout=DEADLINE).read())["samples"]
            seen = samples[-1]["fds"] if samples else None
            if seen == len(os.listdir(f"/proc/{pid}/fd")):
                return
        time.sleep(0.05)
    raise AssertionError(f"no sample of the target ever came; the last one: {seen}")
