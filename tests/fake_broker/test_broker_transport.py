"""The TCP proxy in front of a real broker: what raw sockets and DEALERs see of each transport fault."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fake_broker.proxy import Proxy
from harness.testing import no_leaks

Start = Callable[..., Any]

GREETING = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03"
"""How a ZMTP 3 peer begins; libzmq's own greeting is 64 bytes long in all, the first 10 come unasked."""


@pytest.fixture
def broker(start: Start) -> Any:
    return start("--proxy")


@contextlib.contextmanager
def raw(broker: Any) -> Iterator[socket.socket]:
    """A TCP connection that has greeted, and whose bytes arrive."""
    with socket.create_connection(("127.0.0.1", int(broker.endpoint.rpartition(":")[2])), timeout=10) as one:
        one.sendall(GREETING)
        assert one.recv(1) == b"\xff"
        yield one


def drained(one: socket.socket) -> None:
    """Read until the other side ends; raises what recv raises."""
    while one.recv(4096):
        pass


def test_the_proxy_passes_everything_when_no_fault_is_on(broker: Any) -> None:
    clients = [broker.dealer() for _ in range(10)]
    big = bytes(2 << 20)
    for client in clients:
        assert broker.check(client, "state", b"x").body == (b"x",)
    assert broker.check(clients[0], "state", big).body == (big,)
    assert (broker.stat("peers"), broker.stat("proxied")) == (10, 10)
    for client in clients:
        client.close()
    broker.until("peers", 0)
    broker.until("proxied", 0)


def test_cut_resets_connections(broker: Any) -> None:
    with raw(broker) as one:
        broker.order("fault", fault="cut")
        with pytest.raises(ConnectionResetError):
            drained(one)


def test_cut_with_fin_ends_connections_in_order(broker: Any) -> None:
    with raw(broker) as one:
        broker.order("fault", fault="cut", how="fin")
        drained(one)  # ends, and does not raise
    broker.until("peers", 0)


def test_a_connection_is_finished_even_while_bytes_are_in_transit(until: Any) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as behind,
        Proxy("127.0.0.1", 0, behind.getsockname()) as proxy,
    ):
        for number in range(50):
            with socket.create_connection(proxy.address, timeout=10) as one:
                until(lambda: proxy.connections == 1, f"connection {number} is there")
                one.sendall(GREETING)
                proxy.cut("fin")
                drained(one)
                until(lambda: proxy.connections == 0, f"connection {number} is gone")


def test_a_dealer_reconnects_after_a_reset(broker: Any) -> None:
    client = broker.dealer()
    broker.check(client, "state", b"x")
    broker.order("fault", fault="cut")
    broker.until("accepted", 2)
    assert broker.check(client, "state", b"y").body == (b"y",)


def test_half_open_sends_the_peer_nothing_until_it_is_cleared(broker: Any) -> None:
    client = broker.dealer()
    broker.check(client, "state", b"x")
    with raw(broker) as one:
        left = 63  # after these the broker waits for the rest of our greeting
        while left:
            left -= len(one.recv(left))
        broker.order("fault", fault="half-open")
        broker.until("peers", 0)
        silence = select.poll()
        silence.register(one, select.POLLIN | select.POLLHUP)
        assert not silence.poll(100), "neither bytes nor an end"
        one.sendall(b"anybody there?")
        broker.send(client, "state", b"lost")
        stats = broker.order("stats")
        assert (stats["proxied"], stats["accepted"], stats["requests"]) == (2, 2, 1)
        broker.order("clear")
        with pytest.raises(ConnectionResetError):
            drained(one)
    broker.until("peers", 1)  # the DEALER is back


def test_slices_deliver_bytes_in_pieces(broker: Any) -> None:
    broker.order("fault", fault="slices", size=3)
    client = broker.dealer()
    assert broker.check(client, "state", b"x" * 500).body == (b"x" * 500,)
    broker.order("clear")
    # One byte a gap: 64 bytes of greeting alone take 64 gaps.
    broker.order("fault", fault="slices", size=1, gap=0.002)
    began = time.monotonic()
    with raw(broker) as one:
        received = b""
        while len(received) < 63:
            received += one.recv(4096)
    assert time.monotonic() - began > 0.05


def test_pause_leaves_the_handshake_pending(broker: Any) -> None:
    broker.order("fault", fault="pause", delay=0.2)
    began = time.monotonic()
    client = broker.dealer()
    assert broker.check(client, "state", b"x").body == (b"x",)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("then", ["rst", "fin"])
def test_byte_limit_ends_a_connection_after_that_many_bytes(broker: Any, then: str) -> None:
    broker.order("fault", fault="byte-limit", size=20, then=then)
    with socket.create_connection(("127.0.0.1", int(broker.endpoint.rpartition(":")[2])), timeout=10) as one:
        one.sendall(GREETING)
        received = b""
        with pytest.raises(ConnectionResetError) if then == "rst" else contextlib.nullcontext():
            while data := one.recv(4096):
                received += data
        assert len(received) <= 20
    broker.until("proxied", 0)


def test_byte_limit_may_hang_until_it_is_cleared(broker: Any) -> None:
    broker.order("fault", fault="byte-limit", size=8, then="hang")
    with socket.create_connection(("127.0.0.1", int(broker.endpoint.rpartition(":")[2])), timeout=10) as one:
        received = b""
        while len(received) < 8:  # of the ten that libzmq sends unasked
            received += one.recv(4096)
        one.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one.recv(4096)
        assert (len(received), broker.stat("proxied")) == (8, 1)
        broker.order("clear")
        one.settimeout(10)
        with pytest.raises(ConnectionResetError):
            drained(one)
    broker.until("proxied", 0)


def test_max_peers_refuses_at_the_port(broker: Any, until: Any) -> None:
    broker.order("fault", fault="max-peers", peers=2)
    first, second = broker.dealer(), broker.dealer()
    broker.check(first, "state", b"x")
    broker.check(second, "state", b"x")
    address = ("127.0.0.1", int(broker.endpoint.rpartition(":")[2]))

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(address) != 0

    until(refused, "the port refuses")
    assert broker.check(first, "state", b"y").body == (b"y",), "those inside go on"
    third = broker.dealer()
    broker.send(third, "state", b"z")
    second.close()
    assert broker.reply(third).body == (b"z",)


def test_a_peer_that_does_not_read_costs_bounded_memory() -> None:
    """The proxy stops reading a direction whose other side is slow."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with Proxy("127.0.0.1", 0, listener.getsockname()) as proxy:
            front = socket.create_connection(proxy.address)
            back, _ = listener.accept()
            with front, back:
                front.setblocking(False)
                sent, quiet = 0, 0
                while quiet < 20 and sent < 256 << 20:
                    try:
                        sent += front.send(bytes(1 << 16))
                        quiet = 0
                    except BlockingIOError:
                        quiet += 1
                        select.select([], [front], [], 0.01)
                assert sent < 64 << 20, "backpressure never came"
                received = 0
                while received < sent:
                    received += len(back.recv(1 << 20))
                assert received == sent


def test_a_proxy_without_a_broker_resets_connections() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Proxy("127.0.0.1", 0, nobody.getsockname()) as proxy,
            pytest.raises(ConnectionResetError),  # by connect itself, when the proxy is quick
            socket.create_connection(proxy.address, timeout=10) as one,
        ):
            drained(one)


def test_no_descriptor_left_refuses_a_peer_and_ends_nothing(broker: Any) -> None:
    client, pid = broker.dealer(), broker.process.pid
    broker.check(client, "state", b"x")
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # One more: not the two that a peer needs.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free + 1, limits[1]))
    with (
        socket.create_connection(("127.0.0.1", int(broker.endpoint.rpartition(":")[2])), timeout=10) as one,
        contextlib.suppress(ConnectionResetError),
    ):
        drained(one)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert broker.check(client, "state", b"y").body == (b"y",), "those inside go on"
    assert broker.check(broker.dealer(), "state", b"z").body == (b"z",), "and others come again"


def test_the_proxy_leaves_no_thread_and_no_socket() -> None:
    with no_leaks():
        proxy = Proxy("127.0.0.1", 0, ("127.0.0.1", 1))
        proxy.close()
        proxy.close()


def test_a_faulty_fault_without_the_proxy_names_the_fix(start: Start) -> None:
    answer = start().ask("fault", fault="cut")
    assert answer == {"ok": False, "error": "fault 'cut' needs the TCP proxy; start the broker with --proxy"}
    assert zmq.zmq_version_info() >= (4, 3)
