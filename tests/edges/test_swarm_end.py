"""The end of a Locust run: what was counted since the last second, and streams still on their way out, count too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.target.spawn import free_port
from tests.edges.command_line import DEADLINE, locust
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


@pytest.mark.parametrize("way", ["fin", "half-close", "stall"])
def test_every_stream_of_a_run_shorter_than_a_second_is_counted(way: str, tmp_path: Path) -> None:
    """``half-close`` and ``stall`` last a second more than the run does."""
    rows, accepted = run(LOCUSTFILE, way, USERS * VISITS, tmp_path)
    counts = {row["method"]: (row["num_requests"], row["num_failures"]) for row in rows}
    assert accepted == USERS * VISITS
    assert counts == dict.fromkeys(("connect", "headers", "first event", "life"), (accepted, 0))


def test_every_stream_of_workers_is_in_their_masters_table(tmp_path: Path) -> None:
    """Two users each; the run ends by its time, and with it what lingers."""
    port = str(free_port())
    where = ("--processes", "2", "--master-bind-port", port, "--master-port", port, "-t", "2s")
    text = LOCUSTFILE.replace("gevent.spawn(self.environment.runner.quit)", "pass")
    rows, accepted = run(text, "stall", USERS * VISITS, tmp_path, *where)
    counts = {row["method"]: row["num_requests"] for row in rows}
    assert accepted == USERS * VISITS
    assert counts["life"] == counts["first event"] == accepted


def run(text: str, way: str, streams: int, folder: Path, *more: str) -> tuple[list[dict[str, object]], int]:
    """The rows of Locust's final table, and how many connections the server saw."""
    file = folder / "locustfile.py"
    file.write_text(text.replace("WAY", repr(way)).replace("EVERY", str(streams)))
    users = ("-u", str(USERS), "-r", str(USERS))
    with CountingServer(delay=0.0, patience=60.0, events=1) as server:
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
        done = locust([*command, "--only-summary", *users, *more], ROOT)
        accepted = server.settle(streams).accepted
    assert done.returncode == 0, done.stderr
    (table,) = [found for found in tables(done.stdout) if found] or [[]]  # workers print an empty one each
    return table, accepted


def tables(out: str) -> list[list[dict[str, object]]]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := out.find("[", at)) >= 0:
        value, at = decoder.raw_decode(out, at)
        found.append(value)
    return found
