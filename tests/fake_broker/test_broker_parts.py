"""The parts of the broker that need no process of their own: its journal, folder, monitor, options and management."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
import zmq
from click.testing import CliRunner

from fake_broker import __main__ as command
from fake_broker import mdp, mmi, private
from fake_broker.broker import Broker
from fake_broker.dialects import DIALECTS
from fake_broker.fault import FAULTS, Read, Restart
from fake_broker.journal import Journal
from fake_broker.loop import Loop
from fake_broker.monitor import EVENTS, MAX_EVENTS, Monitor
from fake_broker.quirks import QUIRKS
from fake_broker.server import ListenError, Server, listen
from fake_broker.spec import SpecError, describe, parse
from fake_broker.state import State
from fake_broker.traffic import Incoming


def test_a_journal_has_a_line_for_each_message_that_its_owner_alone_may_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("old")
    path.chmod(0o644)
    with Journal(path) as journal:
        assert (journal.lines, journal.pending, journal.ended) == (0, False, None)
        journal.write(1.23456789, "in", b"\x00a", [b"", b"MDP"])
        assert (journal.lines, journal.pending) == (1, True)
        journal.flush()
        assert journal.pending is False
        (line,) = path.read_text().splitlines()
        assert line == '{"at":1.234568,"way":"in","peer":"0061","frames":["","4d4450"]}'
        journal.write(2.0, "out", b"b", [])
    journal.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text().splitlines()[1]) == {
        "at": 2.0,
        "way": "out",
        "peer": "62",
        "frames": [],
    }


@pytest.mark.parametrize(("room", "lines", "ended"), [(0, 1, None), (-1, 0, "the journal is full")])
def test_a_full_journal_ends_with_a_line_that_reports_it(
    room: int, lines: int, ended: str | None, tmp_path: Path
) -> None:
    line = '{"at":1.000000,"way":"in","peer":"61","frames":["62"]}\n'
    with Journal(tmp_path / "journal", limit=len(line) + room) as journal:
        journal.write(1.0, "in", b"a", [b"b"])
        assert (journal.lines, journal.ended) == (lines, ended)
        journal.write(1.0, "in", b"a", [b"b"])
        assert (journal.lines, journal.ended) == (lines, "the journal is full")
        journal.write(1.0, "in", b"", [])
        journal.flush()
    assert (tmp_path / "journal").read_text() == line * lines + '{"ended":"the journal is full"}\n'


def test_a_full_disk_ends_the_journal_and_nothing_else() -> None:
    """/dev/full is a device, so its errors are planted on a pipe without a reader."""
    read, write = os.pipe()
    journal = Journal.__new__(Journal)
    journal._file = os.fdopen(write, "w", encoding="ascii", buffering=1 << 16)
    journal._left, journal.lines, journal.pending, journal.ended = 1 << 20, 0, False, None
    os.close(read)
    journal.write(1.0, "in", b"a", [])
    assert journal.ended is None, "it is buffered"
    journal.flush()
    assert journal.ended is not None
    assert "Broken pipe" in journal.ended
    journal.write(1.0, "in", b"a", [])
    journal.flush()
    journal.close()
    assert journal.lines == 1


@pytest.mark.parametrize("make", ["fifo", "link", "folder"])
def test_a_journal_is_a_regular_file(make: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    {"fifo": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("x"), "folder": path.mkdir}[make]()
    with pytest.raises(OSError, match=r"regular file|symbolic|directory|No such device"):
        Journal(path)


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(private.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_folder_is_private_locked_and_removed_at_the_end(parent: Path) -> None:
    with private.private_folder() as folder:
        assert folder.parent == parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / private.LOCK).stat().st_mode) == 0o600
        assert [one.name for one in folder.iterdir()] == [private.LOCK]
        private.remove_abandoned(parent)
        assert folder.exists(), "its broker is alive"
    assert list(parent.iterdir()) == []


def test_leftovers_of_a_killed_broker_are_removed_by_the_next_one(parent: Path) -> None:
    left, new, other = (parent / f"{private.PREFIX}{name}" for name in ("left", "new", "file"))
    for folder in (left, new):
        folder.mkdir()
    (left / private.LOCK).touch()
    other.write_text("no folder")
    (parent / "else").mkdir()
    (parent / "else" / private.LOCK).touch()
    with private.private_folder():
        assert not left.exists()
        assert new.exists(), "without a lock it may be one that is just being made"
        assert other.exists()
    assert (parent / "else").exists()


def test_a_lock_is_seen_from_another_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert private._is_locked(path) is False
    held = os.open(path, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert private._is_locked(path) is True
    os.close(held)
    assert private._is_locked(path) is False
    with pytest.raises(FileNotFoundError):
        private._is_locked(tmp_path / "none")


class Events:
    """A monitor's PAIR with scripted events."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, int]] = []
        self.closed = False

    def recv_multipart(self, flags: int) -> list[bytes]:
        assert flags == zmq.NOBLOCK
        if not self.waiting:
            raise zmq.Again
        return [struct.pack("=HI", *self.waiting.pop(0)), b"tcp://x"]


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(0)


@pytest.fixture
def monitor(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[tuple[Monitor, Events]]:
    router = context.socket(zmq.ROUTER)
    with Monitor(context, router, "test") as one:
        real, events = one.socket, Events()
        one.socket = events  # type: ignore[assignment]
        yield one, events
        one.socket = real
    router.close(0)


def test_connections_count_from_accepted_to_disconnected(monitor: tuple[Monitor, Events]) -> None:
    one, events = monitor
    events.waiting = [(zmq.EVENT_ACCEPTED, 7), (zmq.EVENT_ACCEPTED, 8), (zmq.EVENT_DISCONNECTED, 7)]
    one.drain()
    assert (one.accepted, one.disconnected, one.peers, one.failed_handshakes) == (2, 1, 1, 0)
    events.waiting = [(zmq.EVENT_ACCEPTED, 9), (zmq.EVENT_CLOSED, 3)]
    one.drain()
    assert (one.accepted, one.disconnected, one.peers) == (3, 3, 0), "the listener's end ends its connections"
    for event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                  zmq.EVENT_HANDSHAKE_FAILED_AUTH):  # fmt: skip
        assert event & EVENTS
        events.waiting = [(event, 1)]
        one.drain()
    assert (one.failed_handshakes, one.peers) == (3, 0)


def test_an_identity_belongs_to_a_connection_and_ends_with_it(monitor: tuple[Monitor, Events]) -> None:
    one, events = monitor
    events.waiting = [(zmq.EVENT_ACCEPTED, 7), (zmq.EVENT_ACCEPTED, 8)]
    one.record_identity(b"a", 7)
    assert events.waiting == [], "the events before it are taken in"
    assert (one.is_connected(b"a"), one.identities, one.identities_seen) == (True, 1, 1)
    one.record_identity(b"b", 7)  # another identity on the same connection takes its place
    assert (one.is_connected(b"a"), one.is_connected(b"b"), one.identities, one.identities_seen) == (
        False,
        True,
        1,
        2,
    )
    one.record_identity(b"c", 8)
    # A descriptor is reused at once: its earlier connection has ended.
    events.waiting = [(zmq.EVENT_ACCEPTED, 8)]
    one.drain()
    assert (one.is_connected(b"c"), one.identities, one.peers) == (False, 1, 2)
    events.waiting = [(zmq.EVENT_DISCONNECTED, 7)]
    one.drain()
    assert (one.identities, one.peers) == (0, 1)


@pytest.mark.parametrize("connection", [None, 99])
def test_a_peer_that_disconnected_at_once_is_counted_but_not_known(
    connection: int | None, monitor: tuple[Monitor, Events]
) -> None:
    one, _ = monitor
    one.record_identity(b"a", connection)
    assert (one.identities_seen, one.identities, one.is_connected(b"a")) == (1, 0, False)


def test_many_simultaneous_connections_are_accepted_in_portions(monitor: tuple[Monitor, Events]) -> None:
    one, events = monitor
    events.waiting = [(zmq.EVENT_ACCEPTED, number) for number in range(MAX_EVENTS + 5)]
    one.drain()
    assert (one.peers, len(events.waiting)) == (MAX_EVENTS, 5)


def test_a_port_that_is_taken_names_the_fix(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    first, second = context.socket(zmq.REP), context.socket(zmq.REP)
    endpoint = listen(first, "tcp://127.0.0.1:0")
    assert endpoint.startswith("tcp://127.0.0.1:")
    assert not endpoint.endswith(":0")
    with pytest.raises(
        ListenError, match=rf"^cannot listen on {endpoint}: Address already in use.*; choose another port"
    ):
        listen(second, endpoint)
    with pytest.raises(ListenError, match=r"; choose another$"):
        listen(second, "ipc:///nowhere/at/all")


def test_a_unix_socket_is_for_its_user_alone_and_the_umask_is_as_before(
    tmp_path: Path, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    before = os.umask(0o022)
    try:
        listen(context.socket(zmq.REP), f"ipc://{tmp_path}/control")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "control").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "value",
    [
        "tcp://127.0.0.1:0",
        "tcp://127.9.9.9:80",
        "tcp://localhost:1",
        "tcp://[::1]:9797",
        "ipc:///run/x",
        "ipc://x",
        None,
    ],
)
def test_an_endpoint_on_loopback_is_taken(value: str | None) -> None:
    assert command._loopback(None, None, value) is value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("tcp://0.0.0.0:80", "is open to other machines"), ("tcp://10.0.0.1:80", "is open to other machines"),
        ("tcp://example.com:80", "is open to other machines"), ("ipc://", "is not an endpoint"),
        ("udp://127.0.0.1:80", "is not an endpoint"), ("tcp://127.0.0.1", "is not an endpoint"),
        ("tcp://127.0.0.1:99999", "is not an endpoint"), ("tcp://:80", "is not an endpoint"),
        ("x", "is not an endpoint"),
    ],
)  # fmt: skip
def test_any_other_endpoint_is_a_usage_error(value: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        command._loopback(None, None, value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--proxy", "--bind", "ipc://x"], 2, "--proxy works on TCP, and --bind is ipc://x"),
        (["--service", ""], 2, "--service '': expected a name"),
        (["--service", "mmi.x"], 2, "--service 'mmi.x': expected"),
        (["--heartbeat", "nan"], 2, "--heartbeat nan: expected a number"),
        (["--heartbeat", "0.009"], 2, "0.01<=x<=3600"),
        (["--heartbeat", "3601"], 2, "0.01<=x<=3600"), (["--liveness", "0"], 2, "1<=x<=1000"),
        (["--liveness", "1001"], 2, "1<=x<=1000"), (["--fault", "silense"], 2, "--fault: unknown fault 'silense'"),
        (["--journal", "/dev/null/x", "--bind", "tcp://127.0.0.1:0"], 4, "cannot write the journal /dev/null/x"),
        (["--bind", "ipc:///nowhere/x"], 4, "cannot listen on ipc:///nowhere/x"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_exit_code(arguments: list[str], code: int, words: str) -> None:
    done = CliRunner().invoke(command.main, arguments)
    assert done.exit_code == code, done.output
    assert words in done.output


def test_a_short_token_is_refused() -> None:
    control = ["--bind", "tcp://127.0.0.1:0", "--control", "tcp://127.0.0.1:0"]
    done = CliRunner().invoke(command.main, control, env={command.TOKEN: "x" * (command.MIN_TOKEN - 1)})
    assert done.exit_code == 2
    assert f"{command.TOKEN} has 15 characters; expected 16 or more" in done.output


def test_the_list_of_faults_has_every_fault_below_its_group_with_its_parameters() -> None:
    lines = CliRunner().invoke(command.main, ["--list-faults"]).output.splitlines()
    groups = [line for line in lines if line and not line.startswith(" ")]
    assert groups == sorted({kind.group for kind in FAULTS.values()})
    assert {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "} == set(FAULTS)
    assert any(line.startswith("      delay=0.1  ") for line in lines)


class Directory:
    """Two services, of which one has an idle worker."""

    def service_names(self) -> Sequence[bytes]:
        return [b"busy", b"idle"]

    def available(self, service: bytes) -> bool:
        return service == b"idle"

    def metrics(self) -> Mapping[str, int]:
        return {"pending": 3}


class Empty(Directory):
    """A directory without services."""

    def service_names(self) -> Sequence[bytes]:
        return []


@pytest.mark.parametrize(
    ("service", "body", "quirks", "found"),
    [
        (b"mmi.service", [b"idle"], "none", (b"200",)), (b"mmi.service", [b"busy"], "none", (b"404",)),
        (b"mmi.service", [], "none", (b"404",)), (b"mmi.service", [b"busy", b"idle"], "none", (b"200",)),
        (b"mmi.service.idle", [], "none", (b"200",)), (b"mmi.service.busy", [], "none", (b"404",)),
        (b"mmi.services", [], "none", (b"busy", b"idle")), (b"mmi.status", [], "none", (b"200",)),
        (b"mmi.metrics", [], "none", (b'{"pending": 3}',)), (b"mmi.other", [], "none", (b"501",)),
        (b"mmi.services", [], "plantd", (b"501",)), (b"mmi.service", [b"x", b"idle"], "plantd", (b"x", b"200")),
        (b"mmi.service", [], "plantd", (b"404",)), (b"mmi.status", [b"a"], "plantd", (b"501",)),
    ],
)  # fmt: skip
def test_the_management_interface_answers_by_its_code(
    service: bytes, body: list[bytes], quirks: str, found: tuple[bytes, ...]
) -> None:
    assert mmi.answer(service, body, Directory(), QUIRKS[quirks]) == found


def test_without_a_service_the_list_is_one_empty_frame() -> None:
    assert mmi.answer(b"mmi.services", [], Empty()) == (b"",)
    assert mmi.is_management(b"mmi.x")
    assert not mmi.is_management(b"mmix")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"fault": "latency", "delay": -0.1}, "expected a number from 0 to 86400"),
        ({"fault": "latency", "delay": 86_401}, "expected a number from 0 to 86400"),
        ({"fault": "truncate", "keep": 0}, "expected a whole number from 1 to 1000"),
        ({"fault": "truncate", "keep": 1001}, "expected a whole number from 1 to 1000"),
        ({"fault": "slices", "size": (1 << 20) + 1}, "expected a whole number from 1 to"),
        ({"fault": "drop", "every": 0}, "expected a whole number from 1"),
        ({"fault": "drop", "nth": -1}, "expected a whole number from 0"),
        ({"fault": "drop", "after": 3, "until": 3}, "expected after < until"),
        ({"fault": "drop", "probability": -0.01}, "expected a number from 0 to 1"),
    ],
)
def test_a_parameter_has_a_range(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse(spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"fault": "latency", "delay": 0}, {"fault": "latency", "delay": 86_400}, {"fault": "truncate", "keep": 1},
        {"fault": "truncate", "keep": 1000}, {"fault": "slices", "size": 1 << 20}, {"fault": "drop", "every": 1},
        {"fault": "drop", "probability": 0}, {"fault": "drop", "after": 2.9, "until": 3},
    ],
)  # fmt: skip
def test_the_ends_of_a_range_are_in_it(spec: dict[str, Any]) -> None:
    assert parse(spec).fault.name == spec["fault"]


def test_defaults_are_left_out_of_a_description() -> None:
    usual = {
        "service": "*", "message": "*", "identity": "", "nth": 0, "every": 1, "probability": 1.0, "times": 0,
        "after": 0.0, "until": 1e9,
    }  # fmt: skip
    spec = parse({"fault": "drop", **usual})
    assert describe(spec.fault, spec.match) == {"fault": "drop"}
    other = parse({"fault": "drop", "probability": 0.5, "nth": 2})
    assert describe(other.fault, other.match) == {"fault": "drop", "probability": 0.5, "nth": 2}


def test_the_faults_get_the_number_of_connected_peers() -> None:
    """Those that limit the peers decide by it."""
    state = State(time.monotonic(), services=(b"state",))
    broker = Broker(DIALECTS["plantd"], state, Random(1))
    seen: list[int | None] = []
    with Loop(broker, bind="tcp://127.0.0.1:0", control_bind="tcp://127.0.0.1:0", token="x" * 16) as loop:

        def tick(now: float, peers: int | None = None) -> list[Any]:
            seen.append(peers)
            loop.stop()
            return []

        broker.tick = tick  # type: ignore[assignment,method-assign]
        loop.run()
        told = loop.stats()
    assert seen == [0]
    usual = {
        "accepted": 0, "disconnected": 0, "failed_handshakes": 0, "identities_seen": 0, "peers": 0, "identities": 0,
        "reading": True, "listening": True, "silent": False, "mistakes": [], "dialect": "plantd", "pid": os.getpid(),
        "endpoint": loop.endpoints.endpoint, "requests": 0, "replies": 0, "workers": 0, "services": ["state"],
    }  # fmt: skip
    assert {name: told[name] for name in usual} == usual
    assert "journal" not in told
    assert "proxied" not in told


def scripted(dialect: str = "plantd") -> Broker:
    return Broker(DIALECTS[dialect], State(0.0, services=(b"state",)), Random(1))


def test_each_dialect_and_each_reason_is_noted_once() -> None:
    broker = scripted()
    for name in ("0.1", "0.2", "0.1", "majortomo"):
        broker.receive(b"a", mdp.encode_client_request(name, "state", [b"x"]), 0.0)
    assert [text.partition("--dialect ")[2].partition(".")[0] for text in broker.notices] == [
        "0",
        "0",
        "majortomo",
    ]
    assert dict(broker.foreign) == {"0.1": 2, "0.2": 1, "majortomo": 1}
    for frames in ([], [b"x"], [b"", b"MDPC02"], [b"y"]):
        broker.receive(b"a", frames, 0.0)
    assert len(broker.notices) == 5, "a message that is too short, and an unknown header"
    assert broker.invalid.total() == 8
    assert broker.dropped_frames == sum(len(mdp.encode_client_request(name, "state", [b"x"])) for name in (
        "0.1", "0.2", "0.1", "majortomo")) + 4  # fmt: skip


def test_a_fault_sees_the_service_of_every_message() -> None:
    broker = scripted()
    broker.add_fault(parse({"fault": "latency", "delay": 0.0}), 0.0)
    seen: list[tuple[str, bytes]] = []

    def incoming(message: Incoming, now: float) -> None:
        seen.append((type(message.message).__name__, message.service))

    broker.chain.incoming = incoming  # type: ignore[assignment,method-assign]
    for frames in (
        mdp.encode_worker_ready("plantd", "echo"), mdp.encode_worker_heartbeat("plantd"),
        mdp.encode_worker_reply("plantd", b"c", [b"x"]),
    ):  # fmt: skip
        broker.receive(b"w", frames, 0.0)
    broker.receive(b"c", mdp.encode_client_request("plantd", "state", [b"x"]), 0.0)
    broker.receive(b"other", mdp.encode_worker_heartbeat("plantd"), 0.0)
    assert seen == [
        ("WorkerReady", b"echo"), ("Heartbeat", b"echo"), ("WorkerReply", b"echo"), ("ClientRequest", b"state"),
        ("Heartbeat", b""),
    ]  # fmt: skip


def test_a_disconnect_message_names_the_service_of_its_worker() -> None:
    broker = scripted()
    broker.receive(b"w", mdp.encode_worker_ready("plantd", "echo"), 0.0)
    _, (farewell,) = broker.add_fault(parse({"fault": "disconnect"}), 1.0)
    assert (farewell.to, farewell.outgoing.service, farewell.outgoing.message) == (
        b"w",
        b"echo",
        mdp.Disconnect(),
    )
    assert broker.state.workers == {}


def test_a_broker_stops_reading_by_order_and_reads_again(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    poller = zmq.Poller()
    with Server(context, poller, "tcp://127.0.0.1:0") as server:
        for reading in (False, False, True, True, False):
            server.follow(Read(reading), 1.0)
            assert server.reading is reading
            assert (server.router in poller) is reading
        server.follow(Restart(), 2.0)
        assert server.reading is False, "a new ROUTER is read no sooner"
        assert server.router not in poller
        assert server.monitor.socket in poller
        assert server.counts() == dict.fromkeys(Monitor.COUNTS, 0)
