"""The end of a Locust run: counts of the last second, and streams that are still closing, are included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.target.spawn import free_port
from tests.edges.command_line import DEADLINE, locust, table
from tests.edges.servers.counting_server import CountingServer

ROOT = Path(__file__).parents[2]
USERS, VISITS = 4, 3

# The user that comes last ends the run at once: before the first of the pours, which come every second.
LOCUSTFILE = f"""
import gevent
from locust import constant, task
from harness.swarm.user import SseUser

done = []

class Visitor(SseUser):
    wait_time = constant(0)

    @task
    def visit(self):
        for _ in range({VISITS}):
            with self.sse("/a", disconnect=WAY) as stream:
                next(stream)
            done.append(1)
        if len(done) >= EVERY:
            gevent.spawn(self.environment.runner.quit)
        gevent.sleep({DEADLINE})
"""


# Locust creates users in its greenlet that starts them; Locust alone never ends when Ctrl-C comes there.
INTERRUPTED = """
import os, signal
from locust import task
from harness.swarm.user import SseUser

class Visitor(SseUser):
    started = 0

    def __init__(self, environment):
        super().__init__(environment)
        Visitor.started += 1
        if Visitor.started == 3:
            os.kill(os.getpid(), signal.SIGINT)

    @task
    def visit(self):
        with self.sse("/a") as stream:
            for _ in stream:
                pass
"""


def test_ctrl_c_while_users_are_started_ends_the_run_with_its_report(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    with CountingServer(delay=0.0, timeout=60.0) as server:
        host = f"http://127.0.0.1:{server.port}"
        command = [sys.executable, "-m", "locust", "-f", "interrupted.py", "--host", host, "--headless"]
        more = ["-u", "9", "-r", "9", "--html", "report.html"]
        # A shell's background job ignores SIGINT, and its children inherit that.
        subprocess.run(
            [*command, *more],
            cwd=tmp_path,
            timeout=DEADLINE,
            check=True,
            capture_output=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    assert (tmp_path / "report.html").read_text().rstrip().endswith("</html>")


@pytest.mark.parametrize("way", ["fin", "half-close", "stall"])
def test_every_stream_of_a_run_shorter_than_a_second_is_counted(way: str, tmp_path: Path) -> None:
    """``half-close`` and ``stall`` last a second more than the run does."""
    rows, accepted = run(LOCUSTFILE, way, USERS * VISITS, tmp_path)
    counts = {row["method"]: (row["num_requests"], row["num_failures"]) for row in rows}
    assert accepted == USERS * VISITS
    assert counts == dict.fromkeys(("connect", "headers", "first event", "life"), (accepted, 0))


def test_every_stream_of_workers_is_in_their_masters_table(tmp_path: Path) -> None:
    """Two users each; the run is ended, and with it what lingers, while one of them is kept from running."""
    port = str(free_port())
    where = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    text = LOCUSTFILE.replace("gevent.spawn(self.environment.runner.quit)", "pass")

    def kept(pid: int) -> None:
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(worker, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (worker, signal.SIGCONT)).start()

    rows, accepted = run(text, "stall", USERS * VISITS, tmp_path, *where, ended=kept)
    counts = {row["method"]: row["num_requests"] for row in rows}
    assert accepted == USERS * VISITS
    assert counts["life"] == counts["first event"] == accepted


def run(
    text: str, way: str, streams: int, folder: Path, *more: str, ended: Callable[[int], None] | None = None
) -> tuple[list[dict[str, object]], int]:
    """The rows of Locust's final table, and how many connections the server saw. ended: called with Locust's pid once
    all streams have been served, right before it is ended; None when it ends by itself."""
    file = folder / "locustfile.py"
    file.write_text(text.replace("WAY", repr(way)).replace("EVERY", str(streams)))
    users = ("-u", str(USERS), "-r", str(USERS))
    with CountingServer(delay=0.0, timeout=60.0, events=1) as server:
        command = [
            sys.executable,
            "-m",
            "locust",
            "-f",
            str(file),
            "--host",
            server.url,
            "--headless",
            "--json",
        ]

        def served(pid: int) -> bool:
            if ended is None or not server.served(streams):
                return False
            ended(pid)
            return True

        until = served if ended is not None else None
        done = locust([*command, "--only-summary", *users, *more], ROOT, until=until)
        accepted = server.settle(streams).accepted
    assert done.returncode == 0, done.stderr
    return table(done.stdout), accepted
