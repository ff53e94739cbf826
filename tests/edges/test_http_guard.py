"""``harness guard`` reaches a service wherever the swarm does: Unix sockets, IPv6 zones, user info in the URL."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.experiment.guard import Guarded, guard_once
from harness.experiment.options import request_of

SERVICE = str(Path(__file__).parent / "servers" / "sse_at.py")


def guarded(tmp_path: Path, url: str, place: str, *more: str, **options: Any) -> Guarded:
    request = request_of(
        url=url,
        command=(sys.executable, SERVICE, place, "{port}", *more),
        connections=20,
        concurrency=10,
        cycles=3,
        max_time=10.0,
        settle=0.3,
        hold=0.0,
        dwell=0.5,
        disconnect="fin",
        out=tmp_path / "out",
        **options,
    )
    return guard_once(request, command="test")


def check_loaded(done: Guarded) -> None:
    loads = [one.ledger for one in done.trial.observations if one.ledger.opened and one.complete]
    assert loads, done.verdict
    assert all(ledger.completed == ledger.opened for ledger in loads), [ledger.causes for ledger in loads]


def test_a_service_on_a_unix_socket_is_guarded(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    url = "http+unix://" + str(path).replace("/", "%2F") + "/events"
    done = guarded(tmp_path, url, str(path), ready=url)
    check_loaded(done)
    assert done.trial.target.url == url


@pytest.fixture
def link_local() -> Any:
    """fe80::7 on the loopback interface."""
    add = ["ip", "-6", "address", "add", "fe80::7/64", "dev", "lo", "nodad"]
    if subprocess.run(add, capture_output=True).returncode:
        pytest.skip("needs the right to add an address to lo, and IPv6")
    yield "fe80::7%lo"
    subprocess.run([*add[:3], "del", *add[4:-1]], capture_output=True)


def test_a_service_on_a_link_local_address_is_guarded(tmp_path: Path, link_local: str) -> None:
    check_loaded(guarded(tmp_path, "http://[fe80::7%25lo]:{port}/events", link_local))


def test_user_info_reaches_the_service_and_no_artifact(tmp_path: Path) -> None:
    url = "http://me:planted-s3cret@127.0.0.1:{port}/events"
    header = "Basic bWU6cGxhbnRlZC1zM2NyZXQ="
    done = guarded(tmp_path, url, "127.0.0.1", header, ready=url)
    check_loaded(done)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and not path.is_symlink()]
    assert written
    for path in written:
        data = path.read_bytes()
        for secret in (b"planted-s3cret", b"bWU6cGxhbnRlZC1zM2NyZXQ"):
            # The test itself writes the header on the service's command line.
            if secret == b"bWU6cGxhbnRlZC1zM2NyZXQ" and path.name in ("run.json", "report.html"):
                continue
            assert secret not in data, path


def test_a_socket_file_without_a_listener_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nobody.sock"
    url = "http+unix://" + str(path).replace("/", "%2F") + "/events"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    done = guarded(tmp_path, url, str(tmp_path / "other.sock"), ready_timeout=1.0)
    assert done.verdict.exit_code == 1
    assert "nothing listens there" in done.verdict.explanation
