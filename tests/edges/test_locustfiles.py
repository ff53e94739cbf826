"""The locustfiles under plain Locust: streams in its tables, the target in its web UI."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.process.child import Child
from harness.target.ready import wait_ready
from harness.target.spawn import free_port

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "tests" / "services" / "plain_sse.py"
DEADLINE = 30.0


@contextlib.contextmanager
def service(tmp_path: Path) -> Iterator[tuple[int, Child]]:
    port = free_port()
    with Child.spawn(
        [sys.executable, str(SERVICE), str(port)], log=tmp_path / "log", name="service"
    ) as child:
        wait_ready(f"http://127.0.0.1:{port}/", child, timeout=DEADLINE)
        yield port, child


def locust(name: str, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / f"{name}.py"), "--host",
            f"http://127.0.0.1:{port}", *more]  # fmt: skip


@pytest.mark.parametrize("name", ["dashboard", "status", "churn"])
def test_streams_appear_in_locusts_statistics(name: str, tmp_path: Path) -> None:
    with service(tmp_path) as (port, _):
        command = locust(
            name, port, "--headless", "-u", "3", "-r", "3", "-t", "2s", "--json", "--only-summary"
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    rows = json.loads(done.stdout)
    counted: Counter[str] = Counter()
    for row in rows:  # one row for each method and path
        counted[row["method"]] += row["num_requests"]
    assert counted["connect"] >= 3, done.stderr
    assert counted["first event"] >= 3, done.stderr
    assert sum(row["num_failures"] for row in rows) == 0


def test_the_web_ui_has_a_tab_that_shows_the_target(tmp_path: Path) -> None:
    with service(tmp_path) as (port, child):
        web = free_port()
        command = locust("churn", port, "--web-port", str(web), "--web-host", "127.0.0.1")
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as ui:
            try:
                held = follow(f"http://127.0.0.1:{web}/target/samples")
                assert held == len(os.listdir(f"/proc/{child.pid}/fd"))
                page = urllib.request.urlopen(f"http://127.0.0.1:{web}/target", timeout=5).read().decode()
                assert "What the target holds" in page
                home = urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=5).read().decode()
                assert '<script src="/target/tab.js"></script></body>' in home
                script = urllib.request.urlopen(f"http://127.0.0.1:{web}/target/tab.js", timeout=5).read()
                assert b'"/target"' in script
            finally:
                ui.send_signal(signal.SIGTERM)
                ui.wait(DEADLINE)


def follow(url: str) -> int:
    """The descriptors of the newest sample, once there is one."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            data = json.loads(urllib.request.urlopen(url, timeout=5).read())
            if data["samples"] and data["samples"][-1]["fds"]:
                return int(data["samples"][-1]["fds"])
        time.sleep(0.1)
    raise AssertionError("no sample of the target ever came")
