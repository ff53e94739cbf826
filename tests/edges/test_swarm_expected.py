"""Answers that are errors, for real: loaded when they are expected, and mixed in as invalid requests."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.core.cycle import DISCONNECT_MODES, CycleSpec
from harness.core.verdict import Outcome
from harness.experiment.guard import guard_once
from harness.experiment.options import request_of
from harness.target.preflight import preflight
from tests.edges.servers.sse_scripted import Connection, serve
from tests.edges.swarm_cycles import swarm_of

# Answers 503 to everything, with Retry-After, as a health check does while a backend is down.
DOWN = """
import http.server, sys
class Down(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503); self.send_header("Retry-After", "5"); self.send_header("Content-Length", "4")
        self.end_headers(); self.wfile.write(b"down")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Down).serve_forever()
"""


def answers(it: Connection) -> str:
    """A server: 503 at /down, a stream at /events for valid requests, and errors for others."""
    method, target = it.asked.method, it.asked.target
    status = b"200"
    if target == "/down":
        status = b"503"
    elif target != "/events":
        status = b"404"
    elif method != "GET":
        status = b"405"
    elif "harness-unknown" in str(it.asked):
        status = b"401"
    with contextlib.suppress(OSError):  # a client that resets before the answer
        return answered(it, status)
    return "reset"


def answered(it: Connection, status: bytes) -> str:
    if status != b"200":
        it.send(b"HTTP/1.1 " + status + b" No\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nno")
        return "refused"
    it.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
    return it.wait_gone()


def cycle(**more: Any) -> CycleSpec:
    given: dict[str, Any] = {"dwell": 5.0, "paths": ("/events",), **more}
    return CycleSpec(0, 50, 10, **given)


@pytest.mark.parametrize("mode", ["stream", "request"])
def test_an_expected_error_is_what_is_loaded(tmp_path: Path, mode: str) -> None:
    with serve(answers) as server, swarm_of(server.url, tmp_path, expect=("5xx",)) as swarm:
        ledger = swarm.cycle(cycle(paths=("/down",), mode=mode, disconnect="mixed"))
        other = swarm.cycle(cycle(mode=mode))
    assert (ledger.completed, ledger.failed, ledger.rate_limited) == (50, 0, 0)
    assert (ledger.answered, ledger.reset, ledger.refused) == (40, 10, 0)  # a fifth resets before the answer
    assert ledger.by_mode == dict.fromkeys(DISCONNECT_MODES, 10)
    assert (other.answered, other.failed) == (0, 50)


def test_a_share_of_the_requests_is_invalid(tmp_path: Path) -> None:
    with serve(answers) as server, swarm_of(server.url, tmp_path) as swarm:
        ledger = swarm.cycle(cycle(invalid=0.2))
    assert (ledger.opened, ledger.invalid, ledger.failed, ledger.answered) == (50, 10, 0, 50)
    assert ledger.clients == 1


def test_distinct_clients_are_seen_by_the_service_and_counted_over_cycles(tmp_path: Path) -> None:
    seen: Counter[str | None] = Counter()

    def counts(it: Connection) -> str:
        seen[it.asked.header("X-Client-Id")] += 1
        return answers(it)

    with serve(counts) as server, swarm_of(server.url, tmp_path, clients=60) as swarm:
        first, second = swarm.cycle(cycle()), swarm.cycle(cycle())
    assert (first.clients, second.clients) == (50, 60)
    assert len(seen) == 60
    assert sum(seen.values()) == 100


def guarded(tmp_path: Path, **more: Any) -> Any:
    given: dict[str, Any] = {
        "command": (sys.executable, "-c", DOWN, "{port}"), "connections": 40, "concurrency": 10, "settle": 0.3,
        "max_time": 4.0, "out": tmp_path / "out", "mode": "request", "runtime": "none", **more,
    }  # fmt: skip
    return guard_once(request_of("http://127.0.0.1:{port}/healthz", **given), command="test")


def test_a_guard_of_a_503_names_the_option_to_give_and_then_loads_it(tmp_path: Path) -> None:
    done = guarded(tmp_path)
    assert done.verdict.outcome is Outcome.UNREADY
    assert "--expect 503" in done.verdict.advice
    loaded = guarded(tmp_path, expect=("503",), out=tmp_path / "again")
    assert loaded.verdict.outcome is not Outcome.UNREADY
    ledgers = [o.ledger for o in loaded.trial.observations if o.ledger.opened]
    assert sum(ledger.answered or 0 for ledger in ledgers) > 0
    assert all(not ledger.refused for ledger in ledgers)


def test_another_status_than_the_expected_one_is_unready_and_named() -> None:
    with serve(answers) as server:
        seen = preflight(f"{server.url}/missing", timeout=5.0, expect=frozenset({503}))
        down = preflight(f"{server.url}/down", timeout=5.0, expect=frozenset({503}))
    assert seen.problem is not None
    assert "answers 404; expected one of the statuses given with --expect" in seen.problem
    assert "--expect 404" in seen.advice
    assert down.problem is None
