"""The broker as a process, against real DEALER sockets and raw TCP."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_broker import mdp
from fake_broker.control import COMMANDS
from fake_broker.fault import FAULTS
from fake_broker.journal import Journal
from fake_broker.spec import MATCH_KEYS

Start = Callable[..., Any]


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


@pytest.mark.parametrize("dialect", list(mdp.DIALECTS))
def test_the_broker_answers_clients_and_management_requests_in_every_dialect(
    start: Start, dialect: str
) -> None:
    broker = start("--dialect", dialect, "--service", "state")
    client = broker.dealer()
    assert broker.check(client, "state", b"ping").body == (b"pong",)
    assert broker.check(client, "mmi.service", b"state").body == (b"200",)
    assert broker.check(client, "mmi.service", b"nobody").body == (b"404",)
    assert broker.check(client, "mmi.services", b"").body == (b"state",)
    assert broker.check(client, "mmi.nonsense", b"").body == (b"501",)
    worker = broker.dealer()
    worker.send_multipart(mdp.encode_worker_ready(dialect, "echo"))
    broker.send(client, "echo", b"hi")
    request = mdp.decode_to_worker(dialect, worker.recv_multipart())
    assert isinstance(request, mdp.WorkerRequest)
    worker.send_multipart(mdp.encode_worker_reply(dialect, request.client, [b"ho", *request.body]))
    assert broker.reply(client).body == (b"ho", b"hi")
    stats = broker.order("stats")
    assert (stats["requests"], stats["replies"], stats["unanswered"]) == (6, 6, 0)
    assert stats["per_service"] == {
        "state": 1,
        "mmi.service": 2,
        "mmi.services": 1,
        "mmi.nonsense": 1,
        "echo": 1,
    }
    assert stats["mistakes"] == []


def test_a_plantd_client_may_ask_without_a_body(start: Start) -> None:
    broker = start()
    client = broker.dealer()
    assert broker.check(client, "mmi.status").body == (b"200",)
    assert broker.check(client, "mmi.services").body == (b"app", b"identity", b"state")
    assert b"healthy" in broker.check(client, "identity").body[0]


def test_a_silenced_broker_answers_again_after_resume(start: Start) -> None:
    broker = start()
    client = broker.dealer()
    broker.check(client, "state", b"before")
    broker.order("silence")
    broker.order("silence")
    for number in range(5):
        broker.send(client, "state", b"%d" % number)
    broker.until("requests", 6)
    assert client.poll(50) == 0
    stats = broker.order("stats")
    assert (stats["silent"], stats["replies"], stats["unanswered"]) == (True, 1, 5)
    broker.order("resume")
    broker.order("resume")
    # What came in meanwhile stays unanswered: the first to come back is the answer to this one.
    assert broker.check(client, "state", b"after").body == (b"after",)
    stats = broker.order("stats")
    assert (stats["silent"], stats["replies"], stats["unanswered"]) == (False, 2, 5)


def test_peers_follow_the_sockets_that_are_really_open(start: Start, until: Any) -> None:
    broker = start()
    assert broker.stat("peers") == 0
    clients = [broker.dealer() for _ in range(20)]
    broker.until("peers", 20)
    assert broker.stat("identities") == 0, "who said nothing has no identity yet"
    for client in clients:
        broker.check(client, "state", b"x")
    assert broker.stat("identities") == 20
    for client in clients[:15]:
        client.close()
    broker.until("peers", 5)
    assert broker.stat("identities") == 5
    raw = socket.create_connection(("127.0.0.1", port_of(broker.endpoint)))
    broker.until("peers", 6)
    raw.close()
    broker.until("peers", 5)
    for client in clients[15:]:
        client.close()
    broker.until("peers", 0)
    stats = broker.order("stats")
    assert (stats["accepted"], stats["disconnected"], stats["identities_seen"]) == (21, 21, 20)
    until(lambda: broker.stat("failed_handshakes") >= 1, "a failed handshake")


def test_the_broker_keeps_nothing_of_closed_connections(
    start: Start, descriptors: Callable[[int], int], until: Any
) -> None:
    broker = start()
    pid = broker.process.pid
    witness = broker.dealer()
    broker.check(witness, "state", b"x")
    before = descriptors(pid)
    for _ in range(10):
        clients = [broker.dealer() for _ in range(20)]
        for client in clients:
            broker.check(client, "state", b"x")
        for client in clients:
            client.close()
    broker.until("peers", 1)
    until(lambda: descriptors(pid) == before, f"{before} descriptors again")
    assert (broker.stat("identities"), broker.stat("identities_seen")) == (1, 201)


def test_held_replies_come_together_when_released(start: Start) -> None:
    broker = start()
    clients = [broker.dealer() for _ in range(4)]
    broker.order("fault", fault="hold")
    for client in clients:
        broker.send(client, "state", b"x")
    broker.until("held", 4)
    assert all(client.poll(0) == 0 for client in clients)
    assert broker.order("release")["released"] == 4
    assert [broker.reply(client).body for client in clients] == [(b"x",)] * 4
    assert (broker.stat("held"), broker.stat("replies")) == (0, 4)


def test_faults_are_switched_while_it_runs(start: Start) -> None:
    broker = start("--fault", "error-code,code=500,times=1")
    client = broker.dealer()
    assert broker.check(client, "state", b"x").body == (b"500",)
    assert broker.check(client, "state", b"x").body == (b"x",)
    number = broker.order("fault", fault="latency", delay=0.02)["id"]
    assert broker.check(client, "state", b"x").body == (b"x",)
    assert [f["fault"] for f in broker.stat("faults")] == ["error-code", "latency"]
    broker.order("clear", id=number)
    broker.order("clear")
    assert broker.stat("faults") == []
    answer = broker.ask("fault", fault="latency", delay="soon")
    assert answer == {"ok": False, "error": "'delay' is 'soon'; expected a number from 0 to 86400"}


@pytest.mark.parametrize("options", [(), ("--proxy",)])
def test_unbind_closes_connections_refuses_new_ones_and_listens_again(
    start: Start, until: Any, options: tuple[str, ...]
) -> None:
    broker = start(*options)
    client = broker.dealer()
    broker.check(client, "state", b"x")
    port = port_of(broker.endpoint)
    broker.order("fault", fault="unbind")

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    until(refused, "the port refuses")
    broker.until("peers", 0)
    stats = broker.order("stats")
    assert stats["accepted"] == stats["disconnected"]
    broker.order("clear")
    broker.until("listening", True)
    broker.until("peers", 1)  # libzmq connects again by itself
    assert broker.check(client, "state", b"again").body == (b"again",)


def test_restart_drops_connections_and_workers_and_listens_again(start: Start, until: Any) -> None:
    broker = start()
    client, worker = broker.dealer(), broker.dealer()
    broker.check(client, "state", b"x")
    worker.send_multipart(mdp.encode_worker_ready("plantd", "echo"))
    broker.until("workers", 1)
    broker.order("fault", fault="restart", down=0.05)
    broker.until("workers", 0)
    broker.until("listening", True)
    broker.until("peers", 2)  # libzmq connects again by itself
    assert broker.check(client, "state", b"again").body == (b"again",)
    stats = broker.order("stats")
    assert (stats["requests"], stats["accepted"] - stats["disconnected"]) == (2, 2)


def test_a_peer_that_left_is_noticed_when_it_is_written_to(start: Start) -> None:
    broker = start()
    client = broker.dealer()
    broker.order("fault", fault="endless-partial", interval=0.01)
    broker.send(client, "state", b"x")
    assert not broker.reply(client).final
    client.close()
    broker.until("delayed", 0)
    assert broker.stat("unreachable") == 1


def test_not_reading_leaves_messages_in_the_queue(start: Start) -> None:
    broker = start()
    client = broker.dealer()
    broker.check(client, "state", b"x")
    broker.order("fault", fault="not-reading")
    broker.send(client, "state", b"y")
    assert client.poll(50) == 0
    assert broker.stat("requests") == 1
    broker.order("clear")
    assert broker.reply(client).body == (b"y",)


def test_a_frame_over_the_limit_ends_the_connection(start: Start) -> None:
    broker = start()
    broker.order("fault", fault="frame-limit", size=1000)
    broker.until("listening", True)
    client = broker.dealer()
    assert broker.check(client, "state", b"x" * 900).body == (b"x" * 900,)
    before = broker.stat("disconnected")
    broker.send(client, "state", b"x" * 1001)
    broker.until("disconnected", before + 1)


def test_a_peer_that_does_not_read_delays_no_other(start: Start) -> None:
    broker = start()
    deaf, client = broker.dealer(), broker.dealer()
    deaf.rcvhwm = 1
    broker.order("fault", fault="huge-frame", size=8 << 20, service="app")
    for _ in range(20):
        broker.send(deaf, "app", b"x")
    broker.until("requests", 20)
    assert broker.check(client, "state", b"x").body == (b"x",)


def test_no_input_stops_the_broker(start: Start, until: Any) -> None:
    """Random frames to a real ROUTER, random bytes to its port and to the control socket, with faults on."""
    broker = start("--quirks", "plantd")
    peer = broker.dealer()
    order = broker.context.socket(zmq.DEALER)
    order.linger = 0
    order.connect(broker.ready["control"])
    faults = ("latency", "swap", "one-behind", "duplicate", "partial-only", "stop-heartbeat", "header")
    for fault in faults:
        broker.order("fault", fault=fault, probability=0.5, **({"delay": 0.0} if fault == "latency" else {}))
    words = [
        b"",
        b"MDPC02",
        b"MDPW02",
        b"REQUEST",
        b"READY",
        b"FINAL",
        b"PARTIAL",
        b"HEARTBEAT",
        b"DISCONNECT",
    ]
    frame = st.sampled_from([*words, b"echo", b"mmi.service", b"\x00", peer.identity]) | st.binary(
        max_size=30
    )
    shaped = st.tuples(
        st.just(b""), st.sampled_from(words[1:3]), st.sampled_from(words[3:]), frame, frame
    ).map(list)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(frame, min_size=1, max_size=8) | shaped, st.binary(min_size=1, max_size=40), st.booleans()
    )
    def throw(frames: list[bytes], noise: bytes, also_raw: bool) -> None:
        peer.send_multipart(frames)
        order.send_multipart([b"", noise])
        if also_raw:
            with socket.create_connection(("127.0.0.1", port_of(broker.endpoint))) as raw:
                raw.sendall(noise)

    throw()
    peer.send_multipart([b""] * 20_000)
    until(lambda: broker.stat("invalid").get("frames") == 1, "the endless message has come")
    broker.order("clear")
    client = broker.dealer()
    assert broker.check(client, "state", b"alive").body == (b"alive",)
    stats = broker.order("stats")
    assert stats["mistakes"] == []
    assert stats["invalid"]["frames"] == 1
    assert stats["dropped_frames"] > 20_000
    assert broker.process.poll() is None


def test_the_journal_holds_every_frame_and_is_private(start: Start, tmp_path: Path, until: Any) -> None:
    path = tmp_path / "frames.jsonl"
    path.write_text("old")
    path.chmod(0o644)
    broker = start("--journal", str(path))
    client = broker.dealer()
    broker.check(client, "state", b"hi")
    until(lambda: path.read_text().count("\n") == 2, "two lines")
    into, out = (json.loads(line) for line in path.read_text().splitlines())
    assert [bytes.fromhex(f) for f in into["frames"]] == [b"", b"MDPC02", b"REQUEST", b"state", b"hi"]
    assert [bytes.fromhex(f) for f in out["frames"]] == [b"MDPC02", b"FINAL", b"state", b"hi"]
    assert (into["way"], out["way"], into["peer"]) == ("in", "out", out["peer"])
    assert 0 < into["at"] <= out["at"] <= time.monotonic()
    assert path.stat().st_mode & 0o777 == 0o600


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("tcp://[::1]:0",), marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")),
        pytest.param(
            ("tcp://[::1]:0", "--proxy"), marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")
        ),
        ("ipc://{}/broker",),
    ],
)
def test_the_broker_listens_on_ipv6_and_on_unix_sockets(
    start: Start, tmp_path: Path, options: tuple[str, ...]
) -> None:
    bind, *rest = options
    broker = start("--bind", bind.format(tmp_path), *rest)
    client = broker.dealer()
    assert broker.check(client, "state", b"x").body == (b"x",)
    assert (broker.stat("peers"), broker.stat("identities")) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(start: Start, number: int) -> None:
    took = []
    while not took or (min(took) > 1 and len(took) < 5):  # a busy machine may take longer, not each time
        broker = start()
        client = broker.dealer()
        broker.order("fault", fault="hold")
        broker.send(client, "state", b"x")
        broker.until("held", 1)
        began = time.monotonic()
        os.kill(broker.process.pid, number)
        assert broker.process.wait(30) == 0
        took.append(time.monotonic() - began)
        assert broker.process.stderr.read() == ""
    assert min(took) < 1, took


def test_an_order_of_several_frames_is_a_mistake_and_is_answered(start: Start) -> None:
    broker = start()
    with broker.context.socket(zmq.REQ) as order:
        order.linger = 0
        order.rcvtimeo = 10_000
        order.connect(broker.ready["control"])
        order.send_multipart([b'{"command": "stop"}', b"more"])
        assert order.recv_json()["ok"] is False
    assert broker.order("ping") == {"ok": True}


def test_the_stop_order_is_answered_and_ends_it(start: Start) -> None:
    broker = start()
    assert broker.ask("stop") == {"ok": True}
    assert broker.process.wait(30) == 0


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fake_broker", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_taken_port_is_one_line_and_exit_4() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        for options in (("--bind", taken), ("--bind", "tcp://127.0.0.1:0", "--control", taken)):
            done = run(*options)
            assert done.returncode == 4
            assert done.stderr.count("\n") == 1
            assert taken in done.stderr
            assert "choose another port" in done.stderr


def test_a_journal_that_is_no_regular_file_is_refused_and_stays_what_it_is(tmp_path: Path) -> None:
    """As root, a device would have been closed to everybody else."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="not a regular file"):
            Journal(pipe)
    finally:
        os.close(reader)
    with pytest.raises(OSError, match="No such device or address"):
        Journal(pipe)  # it has no reader
    assert stat.S_IMODE(pipe.stat().st_mode) & 0o044
    before = Path("/dev/null").stat().st_mode
    with pytest.raises(OSError, match="not a regular file"):
        Journal(Path("/dev/null"))
    assert Path("/dev/null").stat().st_mode == before


def test_an_unwritable_journal_is_one_line_and_exit_4(tmp_path: Path) -> None:
    done = run("--bind", "tcp://127.0.0.1:0", "--journal", str(tmp_path / "no" / "where"))
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "No such file or directory" in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--dialect", "0.3"), "'0.3' is not one of"),
        (("--bind", "127.0.0.1:1"), "is not an endpoint"),
        (("--bind", "tcp://127.0.0.1:99999"), "is not an endpoint"),
        (("--bind", "tcp://0.0.0.0:0"), "is open to other machines"),
        (("--bind", "tcp://*:0"), "is open to other machines"),
        (("--control", "udp://127.0.0.1:1"), "is not an endpoint"),
        (("--heartbeat", "0"), "0.0 is not in the range"),
        (("--heartbeat", "nan"), "expected a number of seconds"),
        (("--fault", "silense"), "did you mean 'silence'?"),
        (("--service", "mmi.mine"), "not mmi.…"),
        (("--service", "mmi.\udcff"), "not mmi.…"),
        (("--service", ""), "a name that is not empty"),
        (("--nonsense",), "No such option"),
    ],
)
def test_invalid_options_are_named_and_exit_with_2(options: tuple[str, ...], expected: str) -> None:
    done = run(*options)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_the_manual_names_every_fault_order_and_counter(start: Start) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "broker.md").read_text()
    broker = start()
    described = {
        "endpoint",
        "dialect",
        "silent",
        "listening",
        "reading",
        "uptime",
        "pid",
        "ok",
        "services",
        "workers",
    }
    for name in (*FAULTS, *MATCH_KEYS, *(broker.order("stats").keys() - described)):
        assert f"`{name}`" in manual, name
    for name in COMMANDS:
        assert f'{{"command": "{name}"' in manual, name


def test_help_and_the_list_of_faults() -> None:
    printed = run("--help").stdout
    assert "Examples:" in printed
    assert '{"command": "stats"}' in printed
    assert "endless-partial" in run("--list-faults").stdout


def test_faults_of_the_transport_count_in_stats(start: Start, until: Callable[..., Any]) -> None:
    broker = start("--proxy", "--fault", "slices,size=5")
    peer = broker.dealer()  # kept in a variable: pyzmq closes a socket without references
    broker.check(peer, "state", b"ping")
    broker.order("fault", fault="cut")

    def counted() -> dict[str, tuple[int, int]]:
        return {one["fault"]: (one["seen"], one["fired"]) for one in broker.stat("faults")}

    until(lambda: counted()["cut"] == (1, 1), "the cut ended the one connection")
    assert counted()["slices"][0] >= 1
    assert counted()["slices"][1] > 1


def test_a_peer_of_another_dialect_is_reported_on_standard_error(
    start: Start, until: Callable[..., Any]
) -> None:
    broker = start("--dialect", "plantd")
    peer = broker.dealer()
    for _ in range(3):
        peer.send_multipart(mdp.encode_client_request("0.2", "state", [b"ping"]))
    until(lambda: broker.stat("foreign") == {"0.2": 3}, "all three are counted")
    broker.order("stop")
    _, errors = broker.process.communicate(timeout=30)
    assert errors.count("sends dialect 0.2; this broker uses plantd: start it with --dialect 0.2") == 1
