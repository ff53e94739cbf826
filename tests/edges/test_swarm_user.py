"""``SseUser``: every way to a stream, and what Locust's statistics say of it."""

from __future__ import annotations

import base64
import itertools
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edges.servers.sse_client import Driver, certificate, driver
from tests.edges.servers.sse_scripted import CHUNKED, STREAM, Connection, serve

EVENT = STREAM + b"data: x\n\n"


@pytest.fixture(scope="module")
def ask() -> Iterator[Driver]:
    with driver() as found:
        yield found


def first(user: Any, path: str, options: dict[str, Any]) -> str:
    """In the driver: the first event's data."""
    if "auth" in options:
        options["auth"] = tuple(options["auth"])
    if "body" in options:
        options["body"] = options["body"].encode()
    with user.sse(path, **options) as stream:
        return next(stream).data


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@pytest.mark.parametrize("framing", ["chunked", "close-delimited"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_first_event_needs_no_more_bytes(
    ask: Driver, pem: tuple[Path, ssl.SSLContext], framing: str, secure: bool
) -> None:
    """The server sends one event and then waits for the client to go: whoever buffers never gets it."""

    def script(it: Connection) -> str:
        if framing == "chunked":
            it.send(CHUNKED)
            it.chunk(b"data: x\n\n")
        else:
            it.send(STREAM + b"data: x\n\n")
        return it.wait_gone()

    cert, context = pem
    with serve(script, tls=context if secure else None) as server:
        assert ask(first, server.url, "/", {}, options={"ca": str(cert)}).value == "x"
        server.wait(lambda: server.returned == ["fin"])


def test_certificates_are_verified_unless_told_otherwise(
    ask: Driver, pem: tuple[Path, ssl.SSLContext]
) -> None:
    cert, context = pem
    with serve(lambda it: it.send(EVENT), tls=context) as server:
        strict = ask(first, server.url, "/", {})
        assert strict.failed == "certificate"
        assert strict.errors == {"life /: certificate": 1}
        assert server.asked == []  # nothing was said to a stranger
        assert ask(first, server.url, "/", {}, options={"insecure": True}).value == "x"
        assert ask(first, server.url, "/", {}, options={"ca": str(cert)}).value == "x"
        other_name = server.url.replace("127.0.0.1", "127.0.0.2")
        assert ask(first, other_name, "/", {}, options={"ca": str(cert)}).failed in ("certificate", "refused")


def test_the_name_in_the_certificate_must_be_the_host(ask: Driver, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, names="DNS:elsewhere.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serve(lambda it: it.send(EVENT), tls=context) as server:
        assert ask(first, server.url, "/", {}, options={"ca": str(cert)}).failed == "certificate"


def test_plain_text_where_tls_was_expected(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        answer = ask(first, server.url.replace("http", "https"), "/", {})
    assert answer.failed in ("tls", "reset")


@pytest.mark.parametrize("where", ["ipv6", "unix", "name"])
def test_other_addresses(ask: Driver, tmp_path: Path, where: str) -> None:
    unix = tmp_path / "app.sock" if where == "unix" else None
    family = socket.AF_INET6 if where == "ipv6" else socket.AF_INET
    with serve(lambda it: it.send(EVENT), family=family, unix=unix) as server:
        url = server.url.replace("127.0.0.1", "localhost") if where == "name" else server.url
        assert ask(first, url, "/a?b=c", {}).value == "x"
    (asked,) = server.asked
    assert asked.target == "/a?b=c"
    host = {"ipv6": f"[::1]:{server.port}", "unix": "localhost", "name": f"localhost:{server.port}"}[where]
    assert asked.header("Host") == host


def test_headers_auth_and_a_body(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        ask(first, server.url, "/1", {"headers": {"X-One": "1", "accept": "text/event-stream;q=1"}})
        ask(first, server.url, "/2", {"bearer": "abc.def"})
        ask(first, server.url, "/3", {"auth": ["Aladdin", "open sesame"]})
        ask(first, server.url.replace("//", "//Aladdin:open%20sesame@"), "/4", {})
        kind = {"Content-Type": "application/json"}
        ask(first, server.url, "/5", {"method": "POST", "body": '{"q": 1}', "headers": kind})
        ask(first, server.url, "/6", {"cookies": {"a": "1", "b": "2"}})
    one, two, three, four, five, six = server.asked
    assert (one.header("X-One"), one.header("Accept")) == ("1", "text/event-stream;q=1")
    assert two.header("Authorization") == "Bearer abc.def"
    assert three.header("Authorization") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617, 2
    assert base64.b64decode(four.header("Authorization").split()[1]) == b"Aladdin:open sesame"  # type: ignore[union-attr]
    assert (five.method, five.body, five.header("Content-Length")) == ("POST", b'{"q": 1}', "8")
    assert five.header("Content-Type") == "application/json"
    assert six.header("Cookie") == "a=1; b=2"


def test_a_header_that_would_split_the_request_is_refused(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        with pytest.raises(AssertionError, match="X-Bad"):
            ask(first, server.url, "/", {"headers": {"X-Bad": "1\r\nX-Evil: 2"}})
        assert server.connections == 0


def two_visits(user: Any, other: str) -> None:
    """In the driver: a login that redirects, then a visit, then one that leads to another origin."""
    for path in ("/login", "/again", "/away"):
        with user.sse(path, cookies={"own": "1"}, bearer="secret") as stream:
            next(stream)


def test_cookies_come_back_and_credentials_stay_within_their_origin(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as other:

        def script(it: Connection) -> None:
            if it.asked.target == "/login":
                it.send(b"HTTP/1.1 302 Found\r\nLocation: /in\r\nSet-Cookie: sid=7; Path=/; HttpOnly\r\n\r\n")
            elif it.asked.target == "/away":
                away = other.url.replace("127.0.0.1", "localhost").encode()
                it.send(b"HTTP/1.1 307 R\r\nLocation: %s/x\r\n\r\n" % away)
            else:
                it.send(
                    STREAM.replace(b"\r\n\r\n", b"\r\nSet-Cookie: n=2; Path=/again\r\n\r\n") + b"data: x\n\n"
                )

        with serve(script) as server:
            ask(two_visits, server.url, other.url)
    seen = {asked.target: (asked.header("Cookie"), asked.header("Authorization")) for asked in server.asked}
    assert seen == {
        "/login": ("own=1", "Bearer secret"),
        "/in": ("own=1; sid=7", "Bearer secret"),
        "/again": ("own=1; n=2; sid=7", "Bearer secret"),
        "/away": ("own=1; sid=7", "Bearer secret"),
    }
    assert [(a.target, a.header("Cookie"), a.header("Authorization")) for a in other.asked] == [
        ("/x", None, None)
    ]


def test_a_late_head_is_waited_for(ask: Driver) -> None:
    def script(it: Connection) -> None:
        import time

        time.sleep(0.2)  # longer than a stream counts as being opened
        it.send(EVENT)
        left.append(it.wait_gone())

    left: list[str] = []
    with serve(script) as server:
        assert ask(first, server.url, "/", {}).value == "x"
        server.wait(lambda: left)
    assert left == ["fin"]  # it went on by itself, not because the server gave up


def slow_reader(user: Any, path: str) -> list[Any]:
    """In the driver: read far slower than the stall time; all must come, and no stall."""
    import gevent

    with user.sse(path, stall_after=0.1, retry=0.01) as stream:
        next(stream)
        gevent.sleep(0.25)
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
    import time

    def script(it: Connection) -> str:
        it.send(STREAM + b"data: x\n\n")
        if it.asked.target == "/beats":
            for _ in range(8):
                time.sleep(0.05)
                it.send(b":\n")
            it.send(b"data: y\n\n")
            return ""
        return it.wait_gone()

    with serve(script) as server:
        alive = ask(stalls, server.url, "/beats", {}, options={"stall_after": 0.25})
        silent = ask(stalls, server.url, "/silent", {}, options={"stall_after": 0.25})
        mine = ask(stalls, server.url, "/mine", {"stall_after": 0.1})
        server.wait(lambda: len(server.returned) == 3)
    assert alive.value == ["x", "y"]
    assert silent.failed == mine.failed == "stalled"
    assert silent.errors == {"life /silent: stalled": 1}
    assert silent.entries["life /silent"][2] >= 250.0
    assert server.returned == ["", "fin", "fin"]  # it was we who gave up


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
    "/closed": "closed",
}
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
            with user.sse(path, reconnect=False, stall_after=0.1) as stream:
                list(stream)
        except StreamFailed as error:
            found[path] = error.cause
    return found


def test_failures_are_told_by_their_cause(ask: Driver) -> None:
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
    assert got.errors == {f"life {path}: {cause}": 1 for path, cause in FAILURES.items()}


def three_visits(user: Any, path: str) -> int:
    """In the driver: three events each, three times, then a failure."""
    from harness.swarm.user import StreamFailed

    for _ in range(3):
        with user.sse(path, name="the stream") as stream:
            list(itertools.islice(stream, 3))
    try:
        with user.sse("/none", name="the stream"):
            pass
    except StreamFailed:
        pass
    return 0


def test_statistics_have_entries_for_each_time(ask: Driver) -> None:
    """connect, headers, first event, gap, life; totals count a stream once."""
    import time

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
        "connect the stream": [4, 0],
        "headers the stream": [4, 0],
        "first event the stream": [3, 0],
        "gap the stream": [6, 0],
        "life the stream": [4, 1],
    }
    assert got.total == 4
    average = {name: entry[2] for name, entry in got.entries.items()}
    assert average["connect the stream"] <= average["headers the stream"] <= average["first event the stream"]
    assert average["gap the stream"] >= 45.0
    assert average["life the stream"] >= 0.75 * 200.0


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


def from_a_pool(user: Any, path: str, times: int) -> int:
    """In the driver: streams one after another."""
    for _ in range(times):
        with user.sse(path) as stream:
            next(stream)
    return times


def test_source_addresses_are_used_in_turn(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        pool = {"source_addresses": "127.0.0.2-127.0.0.3, 127.0.7.0/30"}
        ask(from_a_pool, server.url, "/", 6, options=pool)
    assert [asked.peer for asked in server.asked] == [
        "127.0.0.2", "127.0.0.3", "127.0.7.1", "127.0.7.2", "127.0.0.2", "127.0.0.3",
    ]  # fmt: skip


def test_a_source_of_the_other_family_goes_to_the_address_it_can_reach(ask: Driver) -> None:
    """localhost is ::1 and 127.0.0.1 to many resolvers: refused there must stay ``refused``."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://localhost:{taken.getsockname()[1]}"
        answer = ask(first, url, "/", {}, options={"source_addresses": "127.0.0.9"})
    assert answer.failed == "refused"


WAYS = {"fin": "fin", "rst": "rst", "half-close": "fin", "stall": "rst"}


def left(user: Any, path: str, way: str) -> str:
    """In the driver: one event, then leave in a way."""
    import gevent

    with user.sse(path, disconnect=way) as stream:
        next(stream)
    while stream._stream is not None:
        gevent.sleep(0.01)
    return way


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_user_leaves_in_the_way_it_was_told(
    ask: Driver, pem: tuple[Path, ssl.SSLContext], way: str, secure: bool
) -> None:
    def script(it: Connection) -> str:
        it.send(EVENT)
        it.wait_gone()
        return it.kernel_end()

    cert, context = pem
    with serve(script, tls=context if secure else None) as server:
        ask(left, server.url, "/", way, options={"ca": str(cert)})
        server.wait(lambda: server.returned)
    # By the kernel's state (tcp_states.h), CLOSE_WAIT 8 after a FIN, CLOSE 7 after a RST: TLS hides which it was.
    assert server.returned == [WAYS[way]]
