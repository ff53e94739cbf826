"""The conversation between experiment and swarm: private, validated in both directions, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.cycle import Ledger
from harness.core.errors import ConfigError, HarnessError, SwarmError
from harness.swarm.launch import Swarm
from harness.swarm.wire import encode, setup_to_dict, spec_to_dict
from tests.edges.servers.counting_server import CountingServer
from tests.edges.swarm_cycles import spec, swarm_at, swarm_of

DEADLINE = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[CountingServer]:
    with CountingServer() as found:
        yield found


@pytest.fixture(scope="module")
def swarm(server: CountingServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    with swarm_at(server, tmp_path_factory.mktemp("swarm")) as found:
        yield found


def test_the_control_socket_is_private(swarm: Swarm) -> None:
    path = swarm.control_path
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_swarm_that_exits_is_infrastructure_with_its_last_lines(
    server: CountingServer, tmp_path: Path
) -> None:
    server.clear()
    with swarm_of(server.url, tmp_path) as found:
        found.wait_ready()
        private = found.control_path
        (tmp_path / "swarm.log").write_text("MemoryError: no more streams\n")
        seen: list[Ledger] = []

        def kill() -> bool:
            if seen and seen[-1].open_now:
                os.kill(found.pid, signal.SIGKILL)
            return False

        with pytest.raises(
            SwarmError, match=r"the load generator exited \(-9\).*MemoryError: no more streams"
        ) as error:
            found.cycle(spec(10, events=0, dwell=30.0), progress=seen.append, cancelled=kill)
    assert error.value.exit_code == 4
    assert private is not None
    assert not private.parent.exists()
    server.settle()  # its streams went with it


def test_a_swarm_that_cannot_start_gives_the_reason(tmp_path: Path) -> None:
    """The request was wrong, not the generator: exit 2."""
    elsewhere = swarm_of("http://no.such.host.invalid:80", tmp_path / "host")
    foreign = swarm_of("http://127.0.0.1:80", tmp_path / "source", source_addresses=("203.0.113.9",))
    for found, why in (
        (elsewhere, r"no\.such\.host\.invalid"),
        (foreign, r"^source address 203\.0\.113\.9: "),
    ):
        with found, pytest.raises(ConfigError, match=why) as error:
            found.wait_ready()
        assert error.value.exit_code == 2


def test_an_address_that_cannot_be_bound_is_named(server: CountingServer, tmp_path: Path) -> None:
    wrong = {
        f"bind '127.0.0.1:{server.port}': .*Address already in use.*a free port": (
            {"processes": 2, "bind": f"127.0.0.1:{server.port}"},
            4,
        ),
        "bind 'localhost'; expected HOST:PORT": ({"processes": 2, "bind": "localhost"}, 2),
        f"web port {server.port}: Address already in use": ({"web_port": server.port}, 4),
    }
    for why, (options, code) in wrong.items():
        found = swarm_of(server.url, tmp_path, **options)  # type: ignore[arg-type]
        with found, pytest.raises(HarnessError, match=why) as error:
            found.wait_ready()
        assert error.value.exit_code == code
        assert "Traceback" not in str(error.value)


def test_more_streams_than_descriptors_is_refused_with_the_remedy(swarm: Swarm) -> None:
    with pytest.raises(SwarmError, match=r"expected at most .* raise ulimit -n, or use more processes"):
        swarm.cycle(spec(1, 1_000_000))


GARBAGE = {
    b"\xff\xfe\n": "not JSON",
    b"[1]\n": "a JSON list; expected an object",
    b'{"order": "dance"}\n': "expected setup, cycle, cancel or stop",
    b'{"order": "cycle"}\n': "spec is NoneType",
    b'{"order": "cycle", "spec": {"x": 1}}\n': "unknown fields",
    b"[" * 100_000 + b"\n": "not JSON",
}


WRONG = {
    "connections": -1,
    "concurrency": 0,
    "dwell": 1e300,
    "events": 1.5,
    "disconnect": "explode",
    "paths": ["/a\r\nX: y"],
    "mode": "websocket",
    "phase": "lunch",
    "index": True,
    "fault": 7,
}


def test_every_order_is_validated_and_garbage_ends_nothing(server: CountingServer, tmp_path: Path) -> None:
    """A raw conversation with the child, as a broken experiment would lead it."""
    server.clear()
    control = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(control))
        listener.listen(1)
        listener.settimeout(DEADLINE)
        child = subprocess.Popen([sys.executable, "-m", "harness.swarm.child", str(control)])
        try:
            talk, _ = listener.accept()
            with talk, talk.makefile("rb") as lines:
                talk.settimeout(DEADLINE)
                assert json.loads(lines.readline()) == {"hello": child.pid}
                setup = swarm_of(server.url, tmp_path)._setup
                bad = setup_to_dict(setup)
                bad["load"]["source_addresses"] = ["localhost"]  # a name would be looked up at every bind
                talk.sendall(encode({"order": "setup", "setup": bad}))
                assert "source_addresses" in json.loads(lines.readline())["error"]
                talk.sendall(encode({"order": "setup", "setup": setup_to_dict(setup)}))
                assert json.loads(lines.readline()) == {"ready": True}
                for line, problem in GARBAGE.items():
                    talk.sendall(line)
                    assert problem in json.loads(lines.readline())["error"]
                good = spec_to_dict(spec(5))
                for name, value in WRONG.items():
                    talk.sendall(encode({"order": "cycle", "spec": {**good, name: value}}))
                    assert name in json.loads(lines.readline())["error"]
                assert server.count.accepted == 0
                talk.sendall(encode({"order": "cycle", "spec": good}))
                while "outcome" not in (message := json.loads(lines.readline())):
                    assert "progress" in message
                assert message["outcome"]["ledger"]["completed"] == 5
            assert child.wait(DEADLINE) == 0  # the end of the conversation is the end of the swarm
        finally:
            child.kill()
            child.wait()


def test_a_swarm_that_hangs_is_infrastructure(
    server: CountingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.clear()
    monkeypatch.setattr("harness.swarm.launch.SILENT", 1.5)
    with swarm_at(server, tmp_path) as found:
        assert found.cycle(spec(0, dwell=2.0)).opened == 0, (
            "an idle cycle has nothing to tell, and does not hang"
        )
        seen: list[Ledger] = []

        def hang(ledger: Ledger) -> None:
            if ledger.open_now and not seen:
                os.kill(found.pid, signal.SIGSTOP)
            seen.append(ledger)

        with pytest.raises(SwarmError, match=r"sent no progress for 1\.5 s during a cycle"):
            found.cycle(spec(5, dwell=60.0, paths=("/mute",)), progress=hang)
        assert seen


def test_a_swarm_that_sends_nonsense_is_refused(server: CountingServer, tmp_path: Path) -> None:
    """The other direction: the experiment believes nothing either."""
    found = swarm_of(server.url, tmp_path)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        found._socket = ours
        for line, problem in (
            (b"nonsense\n", "not JSON"),
            (encode({"outcome": {"ledger": {"opened": -1}, "first_events": []}}), "opened"),
            (encode({"outcome": 7}), "expected an object"),
        ):
            theirs.sendall(line)
            end = time.monotonic() + DEADLINE
            with pytest.raises(SwarmError, match=problem):
                found.cycle(spec(1), cancelled=lambda end=end: time.monotonic() > end)
