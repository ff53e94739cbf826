"""Figures for Prometheus, the lock of guards, and files with the output of a service."""

from __future__ import annotations

import http.client
import os
import stat
import tempfile
from pathlib import Path

import pytest

from harness.core.errors import StoreError
from harness.export.board import Board
from harness.export.prometheus import Exporter
from harness.plugin.guarding import one_guard_at_a_time
from tests.edges.unprivileged import NOBODY, as_user_nobody, needs_root

pytest.importorskip("prometheus_client")


def status(port: int, host: str | None, method: str = "GET") -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.putrequest(method, "/metrics", skip_host=True)
    if host is not None:
        client.putheader("Host", host)
    client.endheaders()
    answer = client.getresponse()
    assert answer.getheader("Access-Control-Allow-Origin") is None
    return answer.status, answer.read()


def test_metrics_are_not_served_to_a_rebound_host_name() -> None:
    with Exporter("0", Board("pid 1")) as export:
        for host in (f"127.0.0.1:{export.port}", f"localhost:{export.port}", "[::1]:1"):
            code, body = status(export.port, host)
            assert (code, b"harness_target_up 0.0" in body) == (200, True)
        for strange in ("evil.example", f"evil.example:{export.port}", "127.0.0.1.evil.example", "", None):
            code, body = status(export.port, strange)
            assert (code, b"harness_target_up" in body) == (403, False)


@needs_root
def test_another_user_reads_metrics_and_changes_nothing() -> None:
    """Reading is what docs/security.md says of them; there is nothing to write."""
    code = """
def ask(method):
    client = http.client.HTTPConnection("127.0.0.1", given["port"], timeout=20)
    client.request(method, "/metrics", b"x" if method != "GET" else None)
    return client.getresponse().status
print(json.dumps([ask(method) for method in ("GET", "POST", "PUT", "DELETE")]))
"""
    with Exporter("0", Board("pid 1")) as export:
        assert as_user_nobody(code, port=export.port) == [200, 405, 405, 405]


@needs_root
def test_a_lock_of_another_user_blocks_no_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name can be foreseen, so that another user may make it first and hold it."""
    with tempfile.TemporaryDirectory(prefix="lock-") as folder:
        Path(folder).chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        path = Path(folder) / f"harness-guard-{os.getuid()}.lock"
        as_user_nobody(
            "open(given['path'], 'w').close(); os.chmod(given['path'], 0o666); print(0)", path=str(path)
        )
        assert path.stat().st_uid == NOBODY
        with pytest.raises(StoreError, match=f"belongs to user {NOBODY}"), one_guard_at_a_time():
            pass
        path.unlink()
        with one_guard_at_a_time():
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
