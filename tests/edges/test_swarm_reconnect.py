"""Points 15 and 16 of docs/swarm.md: when a client reconnects, and what ``close`` stops, on real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.edges.servers.sse_client import Driver, driver
from tests.edges.servers.sse_scripted import CHUNKED, STREAM, Connection, serve
from tests.edges.servers.sse_visits import outcome_and_rest, take

FAST = {"retry": 0.02}


@pytest.fixture(scope="module")
def ask() -> Iterator[Driver]:
    with driver() as found:
        yield found


ENDS = {
    "chunked": CHUNKED + b"19\r\nid: 5\nretry: 60\ndata: a\n\n\r\n6\r\nid: ha\r\n0\r\n\r\n",
    "close-delimited": STREAM + b"id: 5\nretry: 60\ndata: a\n\nid: half\ndata: never",
    "cut": CHUNKED + b"19\r\nid: 5\nretry: 60\ndata: a\n\n\r\n20\r\nid: half",
    "reset": STREAM + b"id: 5\nretry: 60\ndata: a\n\nid: half\n",
}


@pytest.mark.parametrize("end", list(ENDS))
def test_point_15_reconnect_after_the_end_or_a_network_error(ask: Driver, end: str) -> None:
    sent: list[float] = []

    def script(it: Connection) -> None:
        if it.number > 1:
            it.send(STREAM + b"data: b\n\n")
            return
        sent.append(time.monotonic())  # before: the client may be faster than our next line
        it.send(ENDS[end])
        if end == "reset":
            it.reset()

    with serve(script) as server:
        got = ask(take, server.url, "/", 2, {"retry": 30.0})
    assert got.value == [["message", "5", "a"], ["message", "5", "b"]]
    assert server.asked[1].header("Last-Event-ID") == "5"  # not that of the incomplete event
    assert server.asked[1].at - sent[0] >= 0.06  # the service said how long to wait
    cause = {"cut": "closed", "reset": "reset"}.get(end)
    assert got.errors == ({f"life /: {cause}": 1} if cause else {})


def test_point_15_a_client_reconnects_until_the_service_is_back(ask: Driver) -> None:
    def script(it: Connection) -> None:
        it.send(STREAM + b"id: 1\ndata: a\n\n" if it.number == 1 else b"")
        if it.number in (2, 3):
            it.reset()
        elif it.number > 3:
            it.send(STREAM + b"data: b\n\n")

    with serve(script) as server:
        got = ask(take, server.url, "/", 2, FAST)
    assert [event[2] for event in got.value] == ["a", "b"]
    assert [asked.header("Last-Event-ID") for asked in server.asked[:4]] == [None, "1", "1", "1"]
    assert got.errors == {"first event /: reset": 2}  # each connection is counted by itself


def test_point_15_without_a_200_before_there_is_no_reconnect(ask: Driver) -> None:
    with serve(lambda it: it.reset()) as server:
        assert ask(outcome_and_rest, server.url, "/", 1, FAST).value == "reset"
    assert server.connections == 1


def closed_while_waiting(user: Any, path: str) -> list[Any]:
    """In the driver: close while a reconnect is pending, from the reader itself."""
    import gevent

    with user.sse(path, retry=3600.0) as stream:
        next(stream)
        while stream._stream is not None:
            gevent.sleep(0.005)
        pending = stream._timer
        before = pending.active
        stream.close()
        return [before, pending.active, list(stream), stream.reconnects]


def test_point_16_close_stops_a_pending_reconnect(ask: Driver) -> None:
    with serve(lambda it: it.send(STREAM + b"data: x\n\n")) as server:
        assert ask(closed_while_waiting, server.url, "/").value == [True, False, [], 1]
    assert server.connections == 1


def closed_from_elsewhere(user: Any, path: str, opened: bool) -> list[Any]:
    """In the driver: another greenlet closes while this one waits for an event, or for the head."""
    import gevent

    stream = user.sse(path)

    def close() -> None:
        while stream._ready is not opened or stream._waiter is None:
            gevent.sleep(0.005)
        stream.close()

    gevent.spawn(close)
    with stream:
        return [stream.closed is not opened, [event.data for event in stream]]


@pytest.mark.parametrize("opened", [True, False], ids=["reading", "connecting"])
def test_point_16_close_from_another_greenlet_wakes_the_reader(ask: Driver, opened: bool) -> None:
    def script(it: Connection) -> str:
        if opened:
            it.send(STREAM)
        return it.wait_gone()

    with serve(script) as server:
        assert ask(closed_from_elsewhere, server.url, "/", opened).value == [True, []]
        server.wait(lambda: server.returned == ["fin"])


def killed_while_connecting(user: Any, path: str) -> bool:
    """In the driver: Locust stops a user that is still waiting for the head."""
    import gevent

    greenlet = gevent.spawn(take, user, path, 1, FAST)
    gevent.sleep(0.05)
    greenlet.kill()
    gevent.sleep(0.1)
    return bool(greenlet.dead)


def test_point_16_a_user_stopped_while_connecting_leaves_nothing(ask: Driver) -> None:
    with serve(lambda it: it.wait_gone()) as server:
        got = ask(killed_while_connecting, server.url, "/")
        assert got.value is True
        assert "life /" not in got.entries, "it is no stream that succeeded"
        assert got.errors == {}
        server.wait(lambda: server.returned == ["fin"])
    assert server.connections == 1


def closed_with_events_waiting(user: Any, path: str) -> list[str]:
    """In the driver: what is still given out after close()."""
    seen = []
    with user.sse(path) as stream:
        for event in stream:
            seen.append(event.data)
            stream.close()
    return seen


def test_point_16_no_event_is_returned_after_close(ask: Driver) -> None:
    def script(it: Connection) -> str:
        it.send(STREAM + b"data: a\n\ndata: b\n\ndata: c\n\n")
        return it.wait_gone()

    with serve(script) as server:
        assert ask(closed_with_events_waiting, server.url, "/").value == ["a"]
