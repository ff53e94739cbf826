"""Bounds of the proxy and of the chain of faults, just inside and just outside."""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from fake_broker import mdp
from fake_broker.chain import MAX_FAULTS, Chain
from fake_broker.link import PeerLink
from fake_broker.proxy import BUFFER, Proxy
from fake_broker.spec import SpecError, parse
from fake_broker.traffic import Outgoing
from harness.testing import no_leaks
from tests.fake_broker.test_broker_faults import ECHO, A, Script

Until = Callable[[Callable[[], Any], str], Any]


@contextmanager
def proxied() -> Iterator[tuple[Proxy, socket.socket]]:
    """A proxy and the listening socket behind it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as behind,
        Proxy("127.0.0.1", 0, behind.getsockname()) as proxy,
    ):
        yield proxy, behind


@contextmanager
def linked(proxy: Proxy, behind: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection through the proxy: the peer's end and the broker's."""
    with socket.create_connection(proxy.address, timeout=10) as front:
        behind.settimeout(10)
        back, _ = behind.accept()
        back.settimeout(10)
        with back:
            yield front, back


def links(proxy: Proxy) -> set[PeerLink]:
    return set(proxy._links.values())


@pytest.mark.parametrize("reverse", [False, True])
def test_a_direction_whose_reader_is_slow_holds_a_bounded_buffer(reverse: bool) -> None:
    with proxied() as (proxy, behind), linked(proxy, behind) as ends:
        sender, reader = reversed(ends) if reverse else ends
        sender.setblocking(False)
        sent, most, idle = 0, 0, 0
        while idle < 20:
            try:
                sent += sender.send(bytes(BUFFER))
                idle = 0
            except BlockingIOError:
                idle += 1
                proxy.change()  # an order lets every connection continue, which must not read more
                select.select([], [sender], [], 0.01)
            most = max([most, *(len(way.buffer) for link in links(proxy) for way in link.directions)])
            assert most < 2 * BUFFER == 128 * 1024
        assert most >= BUFFER, "the reader was slow"
        events = {key.fileobj: key.events for key in list(proxy._selector.get_map().values())}
        (way,) = (way for link in links(proxy) for way in link.directions if len(way.buffer) >= BUFFER)
        assert not events.get(way.out_of, 0) & selectors.EVENT_READ, (
            "what is not read must not wake the thread"
        )
        received = 0
        while received < sent:
            received += len(reader.recv(1 << 20))
        assert received == sent


@pytest.mark.parametrize("most", [0, 1, 2])
def test_exactly_as_many_peers_as_allowed_are_accepted(most: int, until: Until) -> None:
    with no_leaks(), proxied() as (proxy, _):
        proxy.change(max_peers=most)
        until(
            lambda: proxy._policy.max_peers == most and (most > 0 or proxy._listener is None),
            "the limit holds",
        )
        for _ in range(2):
            peers: list[socket.socket] = []

            def refused(peers: list[socket.socket] = peers) -> bool:
                peers.append(socket.socket())
                return peers[-1].connect_ex(proxy.address) != 0

            until(refused, "the port refuses")
            assert proxy.connections == most
            proxy.cut("rst")
            until(lambda: proxy.connections == 0, "every connection is reset")
            until(lambda: (proxy._listener is not None) is (most > 0), "the port listens again")
            for one in peers:
                one.close()


@pytest.mark.parametrize("limit", [1, 7, 8])
def test_a_byte_limit_is_exact(limit: int) -> None:
    with proxied() as (proxy, behind):
        proxy.change(limit=limit, limit_end="fin")
        with linked(proxy, behind) as (front, back):
            front.sendall(bytes(100))
            received = b""
            while data := back.recv(4096):
                received += data
            assert len(received) == limit


def test_bytes_in_slices_keep_their_gap() -> None:
    with proxied() as (proxy, behind):
        proxy.change(slice=4, gap=0.02)
        with linked(proxy, behind) as (front, back):
            start = time.monotonic()
            front.sendall(b"x" * 12)
            parts = []
            while sum(map(len, parts)) < 12:
                parts.append(back.recv(4096))
            assert time.monotonic() - start >= 0.04
            assert all(len(part) % 4 == 0 for part in parts)


def test_the_proxy_counts_what_each_fault_saw_and_did(until: Until) -> None:
    def tally(by: int) -> tuple[int, int]:
        found = proxy.tally(by)
        return (found.seen, found.fired) if found else (0, 0)

    with proxied() as (proxy, behind):
        proxy.change(by=1, pause=0.01)
        with linked(proxy, behind) as (front, back):
            until(lambda: tally(1) == (1, 1), "the pause counts the new connection")
            proxy.change(by=2, slice=4)
            until(lambda: tally(2) == (1, 0), "slices see the connection that is there")
            front.sendall(b"x" * 12)
            received = b""
            while len(received) < 12:
                received += back.recv(4096)
            # The last slice may arrive before it is counted.
            until(lambda: tally(2) == (1, 3), "three slices of four bytes")
            proxy.change(by=2, slice=0)
            proxy.change(by=3, limit=20, limit_end="fin")
            front.sendall(bytes(100))
            until(lambda: tally(3) == (1, 1), "the limit ends the connection")
        with linked(proxy, behind):
            proxy.change(by=3, limit=0)
            proxy.cut("rst", by=4)
            until(lambda: tally(4) == (1, 1), "the cut ends the connection")
        proxy.change(by=5, max_peers=0)
        until(lambda: tally(5) == (0, 1), "the port is shut once")
        assert tally(9) == (0, 0)


def test_a_half_closed_connection_still_passes_the_answer() -> None:
    with proxied() as (proxy, behind), linked(proxy, behind) as (front, back):
        front.sendall(b"question")
        front.shutdown(socket.SHUT_WR)
        question = b""
        while data := back.recv(100):
            question += data
        back.sendall(b"answer")
        back.close()
        answer = b""
        while data := front.recv(100):
            answer += data
        assert (question, answer) == (b"question", b"answer")


# -- what counts as an answer


@pytest.mark.parametrize(
    ("fault", "asked", "unanswered"),
    [
        ("silence", 3, 3),
        ("drop", 3, 3),
        ("partial-only", 3, 3),
        ("endless-partial", 3, 3),
        ("partial-after-final", 3, 0),
        ("duplicate", 3, 0),
        ("error-code", 3, 0),
        ("hold", 3, 0),  # kept for later is not lost
        ("latency", 3, 0),
    ],
)
def test_only_a_final_reply_answers_a_request(fault: str, asked: int, unanswered: int) -> None:
    script = Script()
    script.on(fault)
    for _ in range(asked):
        script.asks()
    assert (script.stat("requests"), script.stat("unanswered")) == (asked, unanswered)


@pytest.mark.parametrize(
    ("final_flags", "unanswered"),
    [((), 1), ((False,), 1), ((True,), 0), ((False, True), 0), ((True, True), 0)],
)
def test_an_answer_of_a_fault_is_counted_by_its_final_reply(
    final_flags: tuple[bool, ...], unanswered: int
) -> None:
    script = Script()
    number = script.on("silence")
    (active,) = (one for one in script.broker.chain.active.values() if one.id == number)
    frames = mdp.encode_client_request(script.name, "echo", [b"x"])
    answers = [Outgoing(A, mdp.ClientReply(ECHO, (b"x",), flag), ECHO) for flag in final_flags]
    active.fault.incoming = lambda message, context: answers  # type: ignore[method-assign]
    script.broker.receive(A, frames, 0.0)
    assert script.stat("unanswered") == unanswered


def test_a_limited_number_of_faults_can_be_on() -> None:
    chain = Chain(mdp.dialect("plantd"), Random(1))
    numbers = [chain.add(parse({"fault": "drop"}), 0.0) for _ in range(MAX_FAULTS)]
    assert MAX_FAULTS == 256
    with pytest.raises(SpecError, match="256 faults are active already"):
        chain.add(parse({"fault": "drop"}), 0.0)
    chain.remove(numbers[0], 0.0)
    chain.add(parse({"fault": "drop"}), 0.0)
    assert chain.named("drop")[-1] == MAX_FAULTS + 1
    assert chain.clear(0.0) == []
    assert chain.due() is None
