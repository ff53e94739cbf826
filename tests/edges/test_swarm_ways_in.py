"""``SseUser``: every way to a stream."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edges.servers.sse_client import Driver, driver, secured
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
    return secured(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("framing", ["chunked", "close-delimited"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_first_event_needs_no_more_bytes(
    ask: Driver, pem: tuple[Path, ssl.SSLContext], framing: str, secure: bool
) -> None:
    """The server sends one event and then waits for the client to disconnect: a client that buffers never gets it."""

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


def test_certificates_are_verified_by_default(ask: Driver, pem: tuple[Path, ssl.SSLContext]) -> None:
    cert, context = pem
    with serve(lambda it: it.send(EVENT), tls=context) as server:
        strict = ask(first, server.url, "/", {})
        assert strict.failed == "certificate"
        assert strict.errors == {"first event /: certificate": 1}
        assert server.asked == []  # no request was sent to a server that is not trusted
        assert ask(first, server.url, "/", {}, options={"insecure": True}).value == "x"
        assert ask(first, server.url, "/", {}, options={"ca": str(cert)}).value == "x"
        other_name = server.url.replace("127.0.0.1", "127.0.0.2")
        assert ask(first, other_name, "/", {}, options={"ca": str(cert)}).failed in ("certificate", "refused")


def test_the_name_in_the_certificate_must_be_the_host(ask: Driver, tmp_path: Path) -> None:
    cert, context = secured(tmp_path, names="DNS:elsewhere.example")
    with serve(lambda it: it.send(EVENT), tls=context) as server:
        assert ask(first, server.url, "/", {}, options={"ca": str(cert)}).failed == "certificate"


def test_plain_text_where_tls_was_expected(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        answer = ask(first, server.url.replace("http", "https"), "/", {})
    assert answer.failed in ("tls", "reset")


@pytest.mark.parametrize("where", ["ipv6", "zone", "unix", "name"])
def test_streams_are_read_over_ipv6_zones_unix_sockets_and_names(
    ask: Driver, tmp_path: Path, where: str
) -> None:
    unix = tmp_path / "app.sock" if where == "unix" else None
    family = socket.AF_INET6 if where in ("ipv6", "zone") else socket.AF_INET
    with serve(lambda it: it.send(EVENT), family=family, unix=unix) as server:
        url = server.url.replace("127.0.0.1", "localhost") if where == "name" else server.url
        url = url.replace("::1", "::1%25lo") if where == "zone" else url
        assert ask(first, url, "/a?b=c", {}).value == "x"
    (asked,) = server.asked
    assert asked.target == "/a?b=c"
    here = f"[::1]:{server.port}"
    host = {"ipv6": here, "zone": here, "unix": "localhost", "name": f"localhost:{server.port}"}[where]
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


WRONG = [
    ({"headers": {"X-Bad": "1\r\nX-Evil: 2"}}, "header X-Bad: .* has characters that a header cannot carry"),
    ({"headers": {"X Bad": "1"}}, "header 'X Bad'; expected a name"),
    ({"method": "GET /evil HTTP/1.1\r\nX:"}, "expected a token such as GET"),
    ({"disconnect": "slam"}, "disconnect 'slam'; expected one of fin, "),
    ({"stall_after": 0}, "stall_after 0; expected seconds above 0"),
    ({"stall_after": -1.0}, "stall_after -1.0; expected seconds above 0"),
    ({"stall_after": "soon"}, "stall_after 'soon'; expected seconds above 0"),
    ({"retry": -1}, "retry -1; expected seconds from 0"),
    ({"retry": "soon"}, "retry 'soon'; expected seconds from 0"),
    ({"last_event_id": "7\r\nX-Evil: 2"}, "last_event_id '7.*'; expected a string without line breaks"),
    ({"headers": {"X-Count": 7}}, "header X-Count: 7; expected a string"),
    ({"cookies": {"a": "1\r\nX-Evil: 2"}}, "header Cookie: .* has characters that a header cannot carry"),
]


@pytest.mark.parametrize(("options", "why"), WRONG)
def test_invalid_request_options_are_refused_and_nothing_is_sent(
    ask: Driver, options: dict[str, Any], why: str
) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        with pytest.raises(AssertionError, match=why):
            ask(first, server.url, "/", options)
        assert server.connections == 0


@pytest.mark.parametrize("path", ["events", "?a=b", "http://127.0.0.1:9/events", 7])
def test_a_path_that_is_invalid_is_refused_and_nothing_is_sent(ask: Driver, path: Any) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        with pytest.raises(AssertionError, match=r"path .*; expected one that begins with /"):
            ask(first, server.url, path, {})
        assert server.connections == 0


def test_a_path_of_the_host_precedes_that_of_the_stream(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        for host in ("", "/", "/api", "/api/v1/"):
            ask(first, server.url + host, "/events?a=b", {})
    assert [asked.target for asked in server.asked] == [
        "/events?a=b", "/events?a=b", "/api/events?a=b", "/api/v1/events?a=b",
    ]  # fmt: skip


def without_a_block(user: Any, path: str) -> None:
    """Runs in the driver: a stream that is used without a ``with`` block."""
    for _ in user.sse(path):
        pass


def test_a_stream_that_was_never_opened_reports_it(ask: Driver) -> None:
    with serve(lambda it: it.send(EVENT)) as server:
        with pytest.raises(AssertionError, match=r"never opened: read it in a block, `with self\.sse"):
            ask(without_a_block, server.url, "/")
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


def test_a_client_waits_for_a_late_response_head(ask: Driver) -> None:
    def script(it: Connection) -> None:
        time.sleep(0.2)  # longer than a stream counts as being opened
        it.send(EVENT)
        left.append(it.wait_gone())

    left: list[str] = []
    with serve(script) as server:
        assert ask(first, server.url, "/", {}).value == "x"
        server.wait(lambda: left)
    assert left == ["fin"]  # the client continued by itself, not because the server gave up


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
