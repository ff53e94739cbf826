"""A guard passes all its options to the swarm: https, authorities, method, body, headers, processes, sources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.core.budget import Budget, retain_for
from harness.core.errors import ConfigError, TargetError
from harness.experiment.guard import guard_once, setup_for
from harness.experiment.options import GuardRequest, request_of
from harness.target.preflight import preflight
from harness.target.ready import wait_ready
from tests.edges.servers.sse_client import certificate
from tests.edges.servers.sse_scripted import Connection, serve

SERVICE = Path(__file__).parent / "servers" / "sse_tls_service.py"


def asked(tmp_path: Path, **more: Any) -> GuardRequest:
    cert, key = certificate(tmp_path)
    given: dict[str, Any] = {
        "url": "https://127.0.0.1:{port}/events",
        "command": (sys.executable, str(SERVICE), "{port}", str(cert), str(key)),
        "connections": 20,
        "concurrency": 10,
        "cycles": 3,
        "max_time": 10.0,
        "retention": 0.0,
        "hold": 0.0,
        "dwell": 0.5,
        "settle": 0.3,
        "disconnect": "fin",
        "runtime": "none",
        "method": "POST",
        "body": b"hi",
        "headers": {"X-Key": "7"},
        "out": tmp_path / "out",
        "ca": cert,
    }
    return request_of(**{**given, **more})


def test_a_guard_over_https_with_an_authority_of_its_own(tmp_path: Path) -> None:
    request = asked(tmp_path, max_time=40.0, processes=2, source_addresses=("127.0.0.2", "127.0.0.3"))
    done = guard_once(request, command="test")
    loads = [one.ledger for one in done.trial.observations if one.ledger.opened and one.complete]
    assert loads, done.trial.notes
    assert all(ledger.completed == ledger.opened for ledger in loads), [ledger.causes for ledger in loads]


def test_an_untrusted_certificate_is_a_clear_error(tmp_path: Path) -> None:
    done = guard_once(asked(tmp_path, ca=None), command="test")
    assert done.verdict.exit_code != 0
    assert "--ca FILE" in done.verdict.advice
    assert "--insecure" in done.verdict.advice
    loaded = guard_once(asked(tmp_path, ca=None, insecure=True, max_time=12.0), command="test")
    loads = [one.ledger for one in loaded.trial.observations if one.ledger.opened and one.complete]
    assert loads
    assert all(ledger.failed == 0 for ledger in loads)


class Alive:
    """A target that is there."""

    alive = True
    logs = False

    def poll(self) -> None:
        """It has not ended."""

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """It says nothing."""
        return ()


def test_a_head_that_arrives_slowly_delays_no_guard() -> None:
    """Each byte comes within the socket's own timeout."""

    def script(it: Connection) -> str:
        it.send(b"HTTP/1.1 200 OK\r\nX: ")
        return it.drip()

    with serve(script) as server:
        seen = preflight(server.url + "/e", timeout=0.5)
        assert seen.stalls
        assert seen.problem == f"{server.url}/e: no headers within 0.5 s"
        with pytest.raises(TargetError, match=r"no headers within 1 s"):
            wait_ready(server.url, Alive(), timeout=0.5, http_answer=True)
        server.wait(lambda: len(server.returned) >= 2)
        # It sent single bytes until the client disconnected, which was soon.
        assert set(server.returned) == {"gone"}


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"ca": Path("/nowhere.pem")}, "ca='/nowhere.pem'"),
        (
            {"url": "http://[fe80::1%25no0]:8000/"},
            r"url: host 'fe80::1%no0': this machine has no interface 'no0'",
        ),
        ({"processes": 0}, "processes=0"),
        ({"method": "GE T"}, "method 'GE T'"),
        ({"headers": {"X-Bad": "a\r\nb"}}, "X-Bad"),
    ],
)
def test_options_that_the_swarm_would_refuse_are_refused_at_once(
    tmp_path: Path, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        setup_for(asked(tmp_path, **more))


@pytest.mark.parametrize(
    ("asked_for", "retain", "everything", "threads"),
    [
        (None, {}, 60, 60),
        (None, {"*": 300.0, "threads": 5.0}, 300, 5),
        (20.0, {"*": 300.0, "threads": 5.0}, 20, 20),
        (0.0, {"threads": 5.0}, 0, 0),
    ],
)
def test_the_retention_time_is_that_of_the_option_else_of_the_budget_else_a_minute(
    tmp_path: Path, asked_for: float | None, retain: dict[str, float], everything: float, threads: float
) -> None:
    setup = setup_for(asked(tmp_path, retention=asked_for, budget=Budget(retain=retain)))
    assert setup.judgement.retain == everything
    assert retain_for(setup.judgement.allowed.retain, "threads", setup.judgement.retain) == threads
    assert retain_for(setup.judgement.allowed.retain, "fds/pipe", setup.judgement.retain) == everything
