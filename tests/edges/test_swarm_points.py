"""Points 12 to 14 of docs/swarm.md: the requests and the accepted responses of an SSE client, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.edges.servers.sse_client import Driver, driver
from tests.edges.servers.sse_scripted import STREAM, Connection, serve
from tests.edges.servers.sse_visits import outcome, outcome_and_rest, take

FAST = {"retry": 0.02}


@pytest.fixture(scope="module")
def ask() -> Iterator[Driver]:
    with driver() as found:
        yield found


def test_point_12_request_headers(ask: Driver) -> None:
    def script(it: Connection) -> None:
        it.send(STREAM + b"id: 7\xc3\xa9\ndata: a\n\n" if it.number == 1 else STREAM + b"id\ndata: b\n\n")

    with serve(script) as server:
        got = ask(take, server.url, "/e?x=1", 3, FAST)
    assert got.value == [["message", "7é", "a"], ["message", "", "b"], ["message", "", "b"]]
    first, second, third = server.asked[:3]
    assert (first.method, first.target) == ("GET", "/e?x=1")
    for asked in (first, second, third):
        assert asked.header("Accept") == "text/event-stream"
        assert asked.header("Cache-Control") == "no-cache"
        assert asked.header("Host") == f"127.0.0.1:{server.port}"
    assert first.header("Last-Event-ID") is None
    assert second.header("Last-Event-ID") == "7é".encode().decode("latin-1")
    assert third.header("Last-Event-ID") is None  # the empty id of the second has reset it


def test_point_12_an_id_known_before_is_sent_at_once(ask: Driver) -> None:
    with serve(lambda it: it.send(STREAM + b"data: x\n\n")) as server:
        ask(take, server.url, "/", 1, {"last_event_id": "41"})
    assert server.asked[0].header("Last-Event-ID") == "41"


REFUSALS = {
    "/204": (b"204 No Content\r\n", "status-204"),
    "/205": (b"205 Reset Content\r\nContent-Length: 0\r\n", "status-205"),
    "/206": (b"206 Partial Content\r\nContent-Type: text/event-stream\r\n", "status-206"),
    "/404": (b"404 Not Found\r\nContent-Length: 0\r\n", "status-404"),
    "/500": (b"500 Oops\r\nContent-Type: text/event-stream\r\n", "status-500"),
    "/503": (b"503 Busy\r\nContent-Length: 0\r\n", "status-503"),
    "/plain": (b"200 OK\r\nContent-Type: text/plain\r\n", "content-type"),
    "/none": (b"200 OK\r\n", "content-type"),
    "/longer": (b"200 OK\r\nContent-Type: text/event-streams\r\n", "content-type"),
    "/mime-bogus": (b"200 OK\r\nContent-Type: x bogus\r\n", "content-type"),
    "/mime-valid-bogus": (b"200 OK\r\nContent-Type: text/x-bogus\r\n", "content-type"),
    "/mime-trailing-semicolon": (b"200 OK\r\nContent-Type: text/event-stream;\r\n", "taken"),
    "/gzip": (b"200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", "content-encoding"),
    "/ok": (b"200 OK\r\nContent-Type: TEXT/Event-Stream ;charset=latin-1\r\n", "taken"),
}


def all_of(user: Any, paths: list[str]) -> dict[str, str]:
    """In the driver: how each path ends; then long enough for any reconnect that should not be."""
    import gevent

    found = {path: outcome(user, path, 1, FAST) for path in paths}
    gevent.sleep(0.2)
    return found


def test_point_13_anything_but_200_and_the_mime_type_fails_for_good(ask: Driver) -> None:
    def script(it: Connection) -> None:
        it.send(b"HTTP/1.1 " + REFUSALS[it.asked.target][0] + b"\r\ndata: x\n\n")

    with serve(script) as server:
        got = ask(all_of, server.url, list(REFUSALS))
    assert got.value == {path: cause for path, (_, cause) in REFUSALS.items()}
    assert [asked.target for asked in server.asked] == list(REFUSALS)  # once each: none was retried
    assert got.errors == {
        f"first event {path}: {cause}": 1 for path, (_, cause) in REFUSALS.items() if cause != "taken"
    }


def test_point_13_a_reconnect_that_is_refused_fails_for_good_too(ask: Driver) -> None:
    def script(it: Connection) -> None:
        it.send(STREAM + b"data: x\n\n" if it.number == 1 else b"HTTP/1.1 204 No Content\r\n\r\n")

    with serve(script) as server:
        assert ask(outcome_and_rest, server.url, "/", 9, FAST).value == "status-204"
    assert len(server.asked) == 2


def test_point_13_retrying_5xx_is_an_option(ask: Driver) -> None:
    answers = [b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
               b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", STREAM + b"data: x\n\n"]  # fmt: skip
    with serve(lambda it: it.send(answers[it.number - 1])) as server:
        got = ask(take, server.url, "/", 1, {**FAST, "retry_5xx": True})
    assert got.value == [["message", "", "x"]]
    assert got.errors == {"first event /: rate-limited-503": 1, "first event /: status-500": 1}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_point_14_redirects_are_followed_and_reconnects_use_the_original_url(
    ask: Driver, status: int
) -> None:
    def script(it: Connection) -> None:
        if it.asked.target == "/from?a=1":
            it.send(b"HTTP/1.1 %d R\r\nLocation: ../to\r\nContent-Length: 0\r\n\r\n" % status)
        else:
            it.send(STREAM + b"id: %d\ndata: x\n\n" % it.number)

    with serve(script) as server:
        got = ask(take, server.url, "/from?a=1", 2, FAST)
    assert [event[2] for event in got.value] == ["x", "x"]
    assert [asked.target for asked in server.asked[:4]] == ["/from?a=1", "/to", "/from?a=1", "/to"]
    # The id goes with the reconnect, and on through the redirect.
    assert [asked.header("Last-Event-ID") for asked in server.asked[:4]] == [None, None, "2", "2"]


def test_point_14_a_location_may_be_utf_8(ask: Driver) -> None:
    def script(it: Connection) -> None:
        found = STREAM + b"data: x\n\n"
        it.send(found if it.number > 1 else b"HTTP/1.1 302 F\r\nLocation: /caf\xc3\xa9 x?a=%20b\r\n\r\n")

    with serve(script) as server:
        ask(take, server.url, "/", 1, FAST)
    assert server.asked[1].target == "/caf%C3%A9%20x?a=%20b"


def test_point_14_a_missing_location_or_a_loop_is_an_error(ask: Driver) -> None:
    places = {"/lost": b"", "/loop": b"Location: /loop\r\n", "/nonsense": b"Location: gopher://x/\r\n",
              "/bracket": b"Location: http://[bad\r\n", "/socket": b"Location: http+unix://%2Frun%2Fx.sock/\r\n",
              "/port": b"Location: http://127.0.0.1:0/\r\n"}  # fmt: skip

    def script(it: Connection) -> None:
        it.send(b"HTTP/1.1 302 Found\r\n" + places[it.asked.target] + b"Content-Length: 0\r\n\r\n")

    with serve(script) as server:
        got = ask(all_of, server.url, list(places))
    assert got.value == dict.fromkeys(places, "redirect")
    asked = [asked.target for asked in server.asked]
    assert asked == ["/lost"] + ["/loop"] * 21 + list(places)[2:]  # 20 redirects, as browsers have it


@pytest.mark.parametrize(
    ("host", "cause"), [(b"a" * 64 + b".invalid", "redirect"), (b"nosuch.invalid", "unreachable")]
)
def test_point_14_a_redirect_to_no_host(ask: Driver, host: bytes, cause: str) -> None:
    """DNS allows labels of at most 63 characters."""
    place = b"HTTP/1.1 302 Found\r\nLocation: http://" + host + b"/\r\nContent-Length: 0\r\n\r\n"
    with serve(lambda it: it.send(place)) as server:
        assert ask(outcome, server.url, "/", 1, FAST).value == cause


@pytest.mark.parametrize(("status", "method", "body"), [(303, "GET", b""), (307, "POST", b"question")])
def test_point_14_the_method_after_a_redirect(ask: Driver, status: int, method: str, body: bytes) -> None:
    def script(it: Connection) -> None:
        if it.asked.target == "/from":
            it.send(b"HTTP/1.1 %d R\r\nLocation: /to\r\n\r\n" % status)
        else:
            it.send(STREAM + b"data: x\n\n")

    with serve(script) as server:
        ask(posted, server.url, "/from")
    assert [(a.method, a.target, a.body) for a in server.asked] == [
        ("POST", "/from", b"question"),
        (method, "/to", body),
    ]


def posted(user: Any, path: str) -> str:
    """In the driver: POST, and the first event."""
    with user.sse(path, method="POST", body=b"question") as stream:
        return next(stream).data
