"""The fake broker's orders: another local user reads no counter and switches no fault."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from harness.experiment.broker import Broker, BrokerSetup
from tests.edges.unprivileged import as_user_nobody, needs_root

ROOT = Path(__file__).parents[2]
TIMEOUT = 30.0
ORDER = """
context = zmq.Context()
answers = []
for order in given["orders"]:
    peer = context.socket(zmq.REQ)
    peer.linger = 0
    def ask():
        peer.connect(given["endpoint"])
        peer.send_json(order)
        return peer.recv_json() if peer.poll(1500) else "no answer"
    answers.append(attempt(ask))
print(json.dumps(answers))
"""


@contextmanager
def broker(*options: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fake_broker", "--json-ready", "--bind", "tcp://127.0.0.1:0", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)


def ask(endpoint: str, **order: str) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send_json(order)
        assert socket.poll(1000 * TIMEOUT)
        answer = socket.recv_json()
    assert isinstance(answer, dict)
    return answer


@needs_root
def test_the_broker_of_a_run_takes_no_order_of_another_user(tmp_path: Path) -> None:
    with Broker.start(BrokerSetup(), log=tmp_path / "broker.log", seed=1) as found:
        assert found._control.startswith("ipc://")
        path = Path(found._control.removeprefix("ipc://"))
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.lstat().st_mode) == 0o700
        orders = [{"command": "silence"}, {"command": "stop"}]
        assert as_user_nobody(ORDER, endpoint=found._control, orders=orders) == ["no answer"] * 2
        path.parent.chmod(0o755)  # the mode of the socket alone keeps others out as well
        assert as_user_nobody(ORDER, endpoint=found._control, orders=orders) == ["no answer"] * 2
        assert found.ask("stats")["silent"] is False
    assert not path.parent.exists()


def test_the_control_socket_is_private_unless_tcp_is_requested() -> None:
    with broker() as (_, ready):
        assert ready["control"].startswith("ipc://")
        assert "token" not in ready
        path = Path(ready["control"].removeprefix("ipc://"))
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.lstat().st_mode) == 0o700
        assert ask(ready["control"], command="ping") == {"ok": True}
    assert not path.parent.exists()


@needs_root
def test_over_tcp_every_order_needs_the_token() -> None:
    with broker("--control", "tcp://127.0.0.1:0") as (process, ready):
        token = ready["token"]
        orders: list[dict[str, Any]] = [
            {"command": "stop"},
            {"command": "silence", "token": ""},
            {"command": "silence", "token": "x" * len(token)},
            {"command": "silence", "token": None},
            {"command": "silence", "token": [token[:5]]},
            {"command": "silence", "token": "\udcff"},
        ]
        answers = as_user_nobody(ORDER, endpoint=ready["control"], orders=orders)
        assert [each["ok"] for each in answers] == [False] * len(orders)
        assert all("'token' is missing or wrong" in each["error"] for each in answers)
        assert not any(token in each["error"] for each in answers)
        assert process.poll() is None
        assert ask(ready["control"], command="stats", token=token)["silent"] is False


def test_a_token_can_be_given_and_a_short_one_is_a_usage_error() -> None:
    given = "a-token-of-a-user-1"
    with broker("--control", "tcp://127.0.0.1:0", FAKE_BROKER_TOKEN=given) as (_, ready):
        assert ready["token"] == given
        assert ask(ready["control"], command="ping", token=given) == {"ok": True}
    done = subprocess.run(
        [sys.executable, "-m", "fake_broker", "--control", "tcp://127.0.0.1:0"],
        env={**os.environ, "FAKE_BROKER_TOKEN": "short"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "FAKE_BROKER_TOKEN has 5 characters; expected 16 or more" in done.stderr


def test_the_folder_of_a_killed_broker_is_removed_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parent = tempfile.mkdtemp(prefix="fb-")
    with broker(TMPDIR=parent) as (first, ready), broker(TMPDIR=parent) as (_, alive):
        folders = [Path(each["control"].removeprefix("ipc://")).parent for each in (ready, alive)]
        first.send_signal(signal.SIGKILL)
        first.wait(TIMEOUT)
        assert folders[0].is_dir()
        with broker(TMPDIR=parent):
            assert [folder.is_dir() for folder in folders] == [False, True]
    assert list(Path(parent).iterdir()) == []
