"""``SseUser``: its reader, and its entries in Locust's statistics."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.edges.servers.sse_client import Driver, driver
from tests.edges.servers.sse_scripted import CHUNKED, STREAM, Connection, serve

EVENT = STREAM + b"data: x\n\n"


@pytest.fixture(scope="module")
def ask() -> Iterator[Driver]:
    with driver() as found:
        yield found


def slow_reader(user: Any, path: str) -> list[Any]:
    """Runs in the driver: read much slower than the stall time; all events must arrive, and no stall is counted."""
    import gevent

    with user.sse(path, stall_after=1.0, retry=0.01) as stream:
        next(stream)
        gevent.sleep(1.3)
        numbers = [int(event.data) for event in itertools.islice(stream, 4999)]
        return [numbers == list(range(1, 5000)), stream.reconnects]


def test_a_slow_reader_loses_nothing_and_is_no_stall(ask: Driver) -> None:
    """Its queue is bounded: the socket is not read meanwhile, and that silence is not the service's."""

    def script(it: Connection) -> str:
        it.send(STREAM + b"".join(b"data: %d\n\n" % number for number in range(5000)))
        return it.wait_gone()

    with serve(script) as server:
        got = ask(slow_reader, server.url, "/")
    assert got.value == [True, 0]
    assert got.errors == {}


def stalls(user: Any, path: str, options: dict[str, Any]) -> list[str]:
    """In the driver: everything until it ends, reconnects off."""
    with user.sse(path, reconnect=False, **options) as stream:
        return [event.data for event in stream]


def test_silence_is_a_stall_but_a_comment_is_not(ask: Driver) -> None:
    def script(it: Connection) -> str:
        it.send(STREAM + b"data: x\n\n")
        if it.asked.target == "/beats":
            for _ in range(8):
                time.sleep(0.2)
                it.send(b":\n")
            it.send(b"data: y\n\n")
            return ""
        return it.wait_gone()

    with serve(script) as server:
        alive = ask(stalls, server.url, "/beats", {}, options={"stall_after": 1.0})
        silent = ask(stalls, server.url, "/silent", {}, options={"stall_after": 0.25})
        mine = ask(stalls, server.url, "/mine", {"stall_after": 0.1})
        server.wait(lambda: len(server.returned) == 3)
    assert alive.value == ["x", "y"]
    assert silent.failed == mine.failed == "stalled"
    assert silent.errors == {"life /silent: stalled": 1}
    assert silent.entries["life /silent"][2] >= 250.0
    assert server.returned == ["", "fin", "fin"]  # the client gave up, not the server


def late_loop(user: Any, path: str) -> list[Any]:
    """In the driver: the loop does not run for longer than the stall time, until the next event waits in the kernel."""
    from gevent.monkey import get_original

    with user.sse(path, stall_after=0.5) as stream:
        seen = [next(stream).data]
        sock, end = stream._stream._link._sock, time.monotonic() + 0.6
        while time.monotonic() < end or not waiting(sock):
            get_original("time", "sleep")(0.01)
        return [*seen, next(stream).data, stream.reconnects]


def waiting(sock: Any) -> bool:
    """Whether bytes have arrived that were not read yet."""
    with contextlib.suppress(BlockingIOError):
        return bool(sock.recv(1, socket.MSG_PEEK))
    return False


def test_events_received_while_our_own_loop_was_late_are_no_stall(ask: Driver) -> None:
    """Its timers are due before its sockets are read."""

    def script(it: Connection) -> str:
        it.send(EVENT)
        time.sleep(0.05)
        it.send(b"data: y\n\n")
        return it.wait_gone()

    with serve(script) as server:
        got = ask(late_loop, server.url, "/")
    assert got.value == ["x", "y", 0]
    assert got.errors == {}


DRIPS = {
    "/drip-head": b"HTTP/1.1 200 OK\r\nX: ",
    "/drip-trailer": CHUNKED + b"9\r\ndata: x\n\n\r\n0\r\nX: ",
    "/drip-extension": CHUNKED + b"9\r\ndata: x\n\n\r\n9;x=",
}


def test_a_response_that_arrives_byte_by_byte_ends_by_the_stall_time(ask: Driver) -> None:
    def script(it: Connection) -> str:
        it.send(DRIPS[it.asked.target])
        return it.drip()

    with serve(script) as server:
        got = ask(each_drip, server.url, list(DRIPS))
        server.wait(lambda: len(server.returned) == len(DRIPS))
    assert got.value == dict.fromkeys(DRIPS, "dripping")
    assert got.errors == {
        "first event /drip-head: dripping": 1,
        "life /drip-trailer: dripping": 1,
        "life /drip-extension: dripping": 1,
    }
    assert server.returned == ["gone"] * len(DRIPS)


def each_drip(user: Any, paths: list[str]) -> dict[str, str]:
    """In the driver: how each path ends, all at once."""
    import gevent

    from harness.swarm.user import StreamFailed

    def end(path: str) -> str:
        try:
            stalls(user, path, {"stall_after": 1.0})
        except StreamFailed as error:
            return error.cause
        return "none"

    running = {path: gevent.spawn(end, path) for path in paths}
    return {path: greenlet.get() for path, greenlet in running.items()}


def body_that_drips(user: Any, path: str) -> str:
    """In the driver: an event that comes byte by byte, for longer than the stall time."""
    with user.sse(path, stall_after=1.0, reconnect=False) as stream:
        return next(stream).data


def test_a_body_that_arrives_slowly_is_no_stall(ask: Driver) -> None:
    def script(it: Connection) -> None:
        it.send(STREAM)
        for byte in b"data: drip\n\n":
            time.sleep(0.1)
            it.send(bytes([byte]))

    with serve(script) as server:
        assert ask(body_that_drips, server.url, "/").value == "drip"


def test_streams_share_one_timer(ask: Driver) -> None:
    def script(it: Connection) -> str:
        it.send(EVENT)
        return it.wait_gone()

    with serve(script) as server:
        assert ask(timers_of_many, server.url, "/").value == [50, 1, True]


def timers_of_many(user: Any, path: str) -> list[Any]:
    """In the driver: streams open at once, the timers of the loop that are theirs, and whether others came."""
    import gc

    import gevent

    def timers() -> list[Any]:
        kind = type(gevent.get_hub().loop.timer(1.0))
        return [found for found in gc.get_objects() if isinstance(found, kind) and found.active]

    before = len(timers())
    open_ = [user.sse(path, stall_after=5.0) for _ in range(50)]
    for stream in open_:
        stream.open()
        next(stream)
    now = timers()
    owners = {id(one) for stream in open_ for one in (stream, stream._stream)} | {id(user.shared.wheel)}
    theirs = sum(id(getattr(timer.callback, "__self__", None)) in owners for timer in now)
    for stream in open_:
        stream.close()
    return [len(open_), theirs, len(now) - before < 10]


FAILURES = {
    "/refused": "refused",
    "/404": "status-404",
    "/429": "rate-limited-429",
    "/503": "rate-limited-503",
    "/503-alone": "status-503",
    "/type": "content-type",
    "/stalled": "stalled",
    "/reset": "reset",
    "/protocol": "protocol",
    "/not-http": "protocol",
    "/limit": "limit",
    "/head": "limit",
    "/trailer": "limit",
    "/extension": "limit",
    "/closed": "closed",
}
AFTER_AN_EVENT = {"/reset", "/trailer", "/extension", "/closed"}  # the others fail before their first event


PIECES = {
    "/404": b"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n",
    "/429": b"HTTP/1.1 429 T\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "/503": b"HTTP/1.1 503 T\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "/503-alone": b"HTTP/1.1 503 T\r\nContent-Length: 0\r\n\r\n",
    "/type": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>",
    "/stalled": STREAM,
    "/reset": STREAM + b"data: x\n\n",
    "/protocol": CHUNKED + b"zz\r\n",
    "/not-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/limit": STREAM + b"data: " + b"x" * 1_100_000,
    "/head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "/trailer": CHUNKED + b"9\r\ndata: x\n\n\r\n0\r\nX: " + b"x" * 100_000,
    "/extension": CHUNKED + b"9\r\ndata: x\n\n\r\n9;x=" + b"x" * 100_000,
    "/closed": CHUNKED + b"9\r\ndata: x\n\n\r\n",
}


def each_failure(user: Any, paths: list[str], free: str) -> dict[str, str]:
    """In the driver: how each path fails."""
    from harness.swarm.user import StreamFailed

    found = {}
    host = user.host
    for path in paths:
        user.host = free if path == "/refused" else host
        try:
            with user.sse(path, reconnect=False, stall_after=0.1 if path == "/stalled" else 20.0) as stream:
                list(stream)
        except StreamFailed as error:
            found[path] = error.cause
    return found


def test_failures_are_reported_by_their_cause(ask: Driver) -> None:
    def script(it: Connection) -> str:
        it.send(PIECES[it.asked.target])
        if it.asked.target == "/reset":
            it.reset()
            return ""
        return it.wait_gone() if it.asked.target == "/stalled" else ""

    with socket.socket() as taken, serve(script) as server:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        got = ask(each_failure, server.url, list(FAILURES), f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert got.value == FAILURES
    entry = {path: "life" if path in AFTER_AN_EVENT else "first event" for path in FAILURES}
    assert got.errors == {f"{entry[path]} {path}: {cause}": 1 for path, cause in FAILURES.items()}


def three_visits(user: Any, path: str) -> int:
    """Runs in the driver: three streams of three events, then a failure at another path."""
    from harness.swarm.user import StreamFailed

    for _ in range(3):
        with user.sse(path, name="the stream") as stream:
            list(itertools.islice(stream, 3))
    try:
        with user.sse("/none"):
            pass
    except StreamFailed:
        pass
    return 0


def test_statistics_have_entries_for_each_time(ask: Driver) -> None:
    """connect, headers, first event, gap, life; totals count a stream once: its first event or its failure."""

    def script(it: Connection) -> str:
        if it.asked.target == "/none":
            it.send(PIECES["/404"])
            return ""
        time.sleep(0.05)
        it.send(STREAM)
        for _ in range(3):
            time.sleep(0.05)
            it.send(b"data: x\n\n")
        return it.wait_gone()

    with serve(script) as server:
        got = ask(three_visits, server.url, "/e")
    counts = {name: entry[:2] for name, entry in got.entries.items()}
    assert counts == {
        "connect the stream": [3, 0],
        "headers the stream": [3, 0],
        "first event the stream": [3, 0],
        "gap the stream": [6, 0],
        "life the stream": [3, 0],
        "connect /none": [1, 0],
        "headers /none": [1, 0],
        "first event /none": [1, 1],
    }
    assert got.total == 4
    total = {name: entry[0] * entry[2] for name, entry in got.entries.items()}
    assert total["connect the stream"] <= total["headers the stream"] <= total["first event the stream"]
    # The third event comes 200 ms after the request at the earliest, however late it is seen.
    third = total["first event the stream"] + total["gap the stream"]
    assert 3 * 200.0 <= third <= total["life the stream"]
    assert total["gap the stream"] > 0.0


def drain(user: Any, path: str) -> int:
    """In the driver: all events of the stream, one reconnect between."""
    count = 0
    with user.sse(path, retry=0.01) as stream:
        for event in stream:
            count += 1
            if event.type == "end":
                return count
    return count


def test_ids_missing_repeated_and_out_of_order_are_counted(ask: Driver) -> None:
    def script(it: Connection) -> None:
        ids = [1, 2, 5, 5, 4, 6, 7] if it.number == 1 else [9, 9]
        it.send(STREAM + b"".join(b"id: %d\ndata: x\n\n" % number for number in ids))
        if it.number == 2:
            it.send(b"event: end\ndata: x\n\n")

    with serve(script) as server:
        got = ask(drain, server.url, "/e")
    assert got.value == 10
    # 3, 4 (skipped when 5 came), 8 over the reconnect; 5 and 9 again; 4 below 5.
    assert got.errors == {"ids /e: ids missed": 3, "ids /e: ids repeated": 2, "ids /e: ids out of order": 1}
