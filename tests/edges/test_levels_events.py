"""Processes of the service that end during a run are part of its record."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from harness.experiment.guard import guard_once
from harness.experiment.options import request_of

# Serves events; a child of it is replaced at every twentieth connection, and each connection runs a command.
SERVICE = """
import http.server, subprocess, sys
child, served = subprocess.Popen(["sleep", "60"]), 0
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        global child, served
        served += 1
        subprocess.run(["sleep", "0.3"] if served % 10 == 1 else ["true"])
        if served % 20 == 0:
            child.kill(); child.wait(); child = subprocess.Popen(["sleep", "60"])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: 1\\n\\n")
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_replaced_child_is_reported_but_a_short_command_is_not(tmp_path: Path) -> None:
    request = request_of(
        url="http://127.0.0.1:{port}/",
        command=[sys.executable, "-c", SERVICE, "{port}"],
        connections=20,
        concurrency=4,
        disconnect="fin",
        settle=0.3,
        max_time=6.0,
        runtime="none",
        out=tmp_path / "run",
    )
    done = guard_once(request, command="test", interrupt=threading.Event())
    told = [event for cycle in done.trial.observations for event in cycle.events]
    assert told
    assert all(event.endswith("(sleep) exited") for event in told)
    assert len(told) <= sum(cycle.ledger.opened for cycle in done.trial.observations) // 20 + 2
    assert any("started or exited" in warning for warning in done.verdict.warnings)
