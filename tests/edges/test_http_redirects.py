"""Redirects and informational responses, the same for the preflight request, the readiness check and the load."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import TargetError
from harness.runtime.go import FinalResponse
from harness.target.preflight import preflight
from harness.target.ready import wait_ready
from tests.edges.servers.sse_scripted import STREAM, Asked, Connection, serve
from tests.edges.swarm_cycles import swarm_of

SECRETS = {
    "Authorization": "Bearer s3cret",
    "Cookie": "sid=s3cret",
    "Proxy-Authorization": "Basic s3cret",
    "X-Api-Key": "s3cret",
    "Host": "s3cret.example",
}
INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 102 Processing\r\nContent-Type: text/html\r\nRetry-After: 9\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLocation: /elsewhere\r\n"
    b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
)


class Alive:
    """A target that runs and has no log."""

    alive = True
    logs = False
    lost = ""

    def poll(self) -> None:
        """It has not exited."""

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """It logs nothing."""
        return ()


def redirect(status: int, location: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)


def stream(it: Connection) -> None:
    it.send(STREAM + b"data: 1\n\n")


def to(status: int, location: str | bytes) -> Callable[[Connection], None]:
    """A script: /end streams, every other path redirects."""
    raw = location.encode() if isinstance(location, str) else location

    def script(it: Connection) -> None:
        if it.asked.target.startswith("/end"):
            stream(it)
        else:
            it.send(redirect(status, raw))

    return script


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def leaked(asked: Asked) -> list[str]:
    return [name for name, value in asked.headers if "s3cret" in value] + (["body"] if asked.body else [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_stay_within_their_origin(status: int) -> None:
    """Another port is another origin (RFC 6454)."""
    with serve(stream) as other, serve(to(status, f"{other.url}/end")) as first:
        seen = preflight(first.url + "/e", timeout=5, headers=SECRETS)
    assert seen.problem is None
    assert leaked(other.asked[0]) == []
    assert other.asked[0].header("host") == other.url.removeprefix("http://")
    assert leaked(first.asked[0]) == [name.lower() for name in ("Host", *list(SECRETS)[:-1])]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_post_becomes_get_without_its_body(status: int) -> None:
    with serve(to(status, "/end")) as server:
        seen = preflight(
            server.url + "/e",
            timeout=5,
            method="POST",
            body=b"s3cret",
            headers={"Content-Type": "text/plain", "X-Api-Key": "k"},
        )
    assert seen.problem is None
    last = server.asked[-1]
    assert (last.method, last.body, last.header("content-type")) == ("GET", b"", None)
    assert last.header("content-length") is None
    assert last.header("x-api-key") == "k"  # the same origin


@pytest.mark.parametrize("status", [307, 308])
def test_method_and_body_are_kept_within_the_origin_and_sent_nowhere_else(status: int) -> None:
    with serve(to(status, "/end")) as server:
        assert preflight(server.url + "/e", timeout=5, method="POST", body=b"b").problem is None
    assert (server.asked[-1].method, server.asked[-1].body) == ("POST", b"b")
    with serve(stream) as other, serve(to(status, f"{other.url}/end")) as first:
        seen = preflight(first.url + "/e", timeout=5, method="POST", body=b"s3cret")
    assert other.asked == []
    assert seen.problem is not None
    assert "another origin" in seen.problem
    assert not seen.stalls


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "scheme 'file'"),
        ("javascript:alert(1)", "scheme 'javascript'"),
        ("gopher://127.0.0.1/", "scheme 'gopher'"),
        ("data:text/event-stream,data:1", "scheme 'data'"),
        ("ftp://127.0.0.1/x", "scheme 'ftp'"),
        ("http+unix://%2Frun%2Fdocker.sock/x", "socket"),
        ("https://", "names no host"),
        ("http://", "redirects without end"),
        ("http://[::1", "Location"),
        ("http://127.0.0.1:99999/", "out of range"),
        ("http://127.0.0.1:x/", "Location"),
        ("", "without a Location"),
        (b"\x1b[31mjavascript:\x07", "header value"),
        (b"http://\xff\xfe\x80/", "host"),
    ],
)
def test_an_unsupported_location_is_a_clear_problem_for_preflight_and_readiness(
    location: str | bytes, said: str
) -> None:
    def script(it: Connection) -> None:
        if it.asked.target in ("/e", "/ready"):
            it.send(redirect(302, location if isinstance(location, bytes) else location.encode()))
        else:
            it.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with serve(script) as server:
        seen = preflight(server.url + "/e", timeout=5)
        assert seen.problem
        assert not seen.stalls
        assert seen.problem.isprintable()
        assert said in seen.problem
        assert server.url in seen.problem
        with pytest.raises(TargetError, match="not ready") as refused:
            wait_ready(server.url + "/ready", Alive(), timeout=0.2, http_answer=True)
        assert said in str(refused.value)


def test_a_redirect_to_an_unreachable_host_names_that_host() -> None:
    dead = f"http://127.0.0.1:{unused_port()}/x"
    with serve(to(302, dead)) as server:
        seen = preflight(server.url + "/e", timeout=5)
        assert seen.problem is not None
        assert seen.problem.startswith(f"{server.url}/e redirects to {dead}, which refuses connections")
        with pytest.raises(TargetError, match=f"redirects to {dead}"):
            wait_ready(server.url + "/e", Alive(), timeout=0.2, http_answer=True)
    with serve(to(302, "http://nosuch.invalid/x")) as server:
        seen = preflight(server.url + "/e", timeout=5)
        assert seen.problem is not None
        assert f"{server.url}/e redirects to http://nosuch.invalid/x" in seen.problem
        assert "nosuch.invalid'" in seen.problem


def test_a_redirect_loop_ends_at_the_same_limit_everywhere() -> None:
    with serve(to(302, "/e")) as server:
        seen = preflight(server.url + "/e", timeout=5)
        assert seen.problem is not None
        assert "redirects without end" in seen.problem
        assert len(server.asked) == 21
        with pytest.raises(TargetError, match="redirects without end"):
            wait_ready(server.url + "/e", Alive(), timeout=0.2, http_answer=True)


def test_user_info_in_a_location_is_not_sent() -> None:
    """The service wrote it, not the user."""
    with serve(stream) as other:
        place = other.url.replace("http://", "http://them:s3cret@")
        with serve(to(302, place + "/end")) as first:
            seen = preflight(first.url + "/e", timeout=5)
    assert seen.problem is None
    assert other.asked[0].header("authorization") is None


def test_user_info_of_the_url_stays_within_its_origin() -> None:
    with serve(stream) as other, serve(to(302, f"{other.url}/end")) as first:
        seen = preflight(first.url.replace("http://", "http://me:s3cret@") + "/e", timeout=5)
    assert seen.problem is None
    assert first.asked[0].header("authorization") == "Basic bWU6czNjcmV0"
    assert other.asked[0].header("authorization") is None


@pytest.mark.parametrize("stream_mode", [True, False])
def test_informational_responses_are_skipped(stream_mode: bool) -> None:
    with serve(lambda it: it.send(INTERIM + STREAM + b"data: 1\n\n")) as server:
        seen = preflight(server.url + "/e", timeout=10.0, stream=stream_mode)
        assert (seen.problem, seen.status, seen.content_type) == (None, 200, "text/event-stream")
        wait_ready(server.url + "/e", Alive(), timeout=10.0, http_answer=True)
    assert len(server.asked) == 2


def test_a_service_behind_a_unix_socket(tmp_path: Path) -> None:
    """An absolute Location names the Host that the harness sent: it is the same socket."""
    with serve(to(302, "http://localhost/end"), unix=tmp_path / "s") as server:
        seen = preflight(server.url + "/e", timeout=10.0, headers={"Authorization": "Bearer s3cret"})
        assert seen.problem is None
        wait_ready(server.url + "/e", Alive(), timeout=10.0)
        wait_ready(server.url + "/e", Alive(), timeout=10.0, http_answer=True)
    assert server.asked[1].header("authorization") == "Bearer s3cret"


def load(url: str, folder: Path, **options: Any) -> Ledger:
    """One cycle of four streams, or of four connections with two plain requests each."""
    mode = "request" if options.get("keep_alive") else "stream"
    events = 2 if mode == "request" else 1
    with swarm_of(url, folder, **options) as swarm:
        swarm.wait_ready()
        return swarm.cycle(CycleSpec(0, 4, 2, 20.0, events, paths=("/e",), mode=mode))


def test_the_load_keeps_credentials_within_their_origin(tmp_path: Path) -> None:
    with serve(stream) as other, serve(to(302, f"{other.url}/end")) as first:
        url = first.url.replace("http://", "http://me:s3cret@")
        ledger = load(url, tmp_path, headers=SECRETS, method="POST", body=b"s3cret")
    assert (ledger.completed, ledger.causes) == (4, {})
    assert len(other.asked) == 4
    assert [leaked(asked) for asked in other.asked] == [[]] * 4
    assert {asked.method for asked in other.asked} == {"GET"}


def test_the_load_skips_informational_responses(tmp_path: Path) -> None:
    """On a kept-alive connection too, before each answer."""

    def script(it: Connection) -> str:
        answer = INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        it.send(answer)
        assert it.sock.recv(65536)  # the second request
        it.send(answer)
        return it.wait_gone()

    with serve(script) as server:
        ledger = load(
            server.url, tmp_path / "requests", keep_alive=True, headers={"Connection": "keep-alive"}
        )
    assert (ledger.completed, ledger.events, ledger.causes) == (4, 8, {})
    with serve(lambda it: it.send(INTERIM + STREAM + b"data: 1\n\n")) as server:
        ledger = load(server.url, tmp_path / "streams")
    assert (ledger.completed, ledger.events, ledger.causes) == (4, 4, {})


def test_the_load_reports_an_unsupported_redirect_and_an_unreachable_host_by_cause(tmp_path: Path) -> None:
    with serve(to(302, "javascript:alert(1)")) as server:
        assert load(server.url, tmp_path / "a").causes == {"redirect": 4}
    with serve(to(302, f"http://127.0.0.1:{unused_port()}/")) as server:
        assert load(server.url, tmp_path / "b").causes == {"refused": 4}


def test_a_pprof_page_behind_informational_responses_is_read() -> None:
    connection = http.client.HTTPConnection("127.0.0.1")
    connection.response_class = FinalResponse
    with serve(lambda it: it.send(INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as server:
        connection.port = server.port
        connection.request("GET", "/debug/pprof/")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"ok")
        connection.close()


class Started(Alive):
    """A target that the harness started, so that its log can be read."""

    logs = True


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (503, "leave out --ready and pass --expect 503"),
        (503, "or pass another --ready URL"),
        (None, "that it gets as {port} in the command"),
    ],
)
def test_a_service_that_answers_with_errors_gets_another_step_than_one_that_does_not_answer(
    status: int | None, advice: str
) -> None:
    def answer(it: Connection) -> None:
        it.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (status or 0))

    dead = f"http://127.0.0.1:{unused_port()}/ready"
    with serve(answer) as server, pytest.raises(TargetError, match="was not ready after") as refused:
        wait_ready(f"{server.url}/ready" if status else dead, Started(), timeout=0.2, http_answer=True)
    assert advice in refused.value.advice
