"""The contract service as an external test suite uses it: a process, HTTP in both directions, each capability."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SERVICE = Path(__file__).parents[1] / "contract_service.py"
DEADLINE = 30.0  # seconds for anything that should happen at once
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Connection:
    """One request of the client under test."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEADLINE)
        self.sock = sock
        with sock.makefile("rb") as lines:
            self.method, self.target, _ = lines.readline().decode().split()
            self.headers = {k.lower(): v for k, v in http.client.parse_headers(lines).items()}
            self.body = lines.read(int(self.headers.get("content-length", 0)))

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.sock.sendall(chunk)

    def ended(self) -> bool:
        """Wait until the client has disconnected."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()


class Suite:
    """The parts of an external suite: a stream server, a callback server, and requests to the service."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        self.stream_url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/stream"
        self.messages: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        suite = self

        class Callbacks(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                suite.messages.put((self.path, body))  # before the answer, after which the next one is sent
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.callbacks = ThreadingHTTPServer(("127.0.0.1", 0), Callbacks)
        threading.Thread(
            target=self.callbacks.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        self.callback_url = f"http://127.0.0.1:{self.callbacks.server_port}/callback"

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of a request to the service."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            connection.request(method, path, sent)
            response = connection.getresponse()
            return response.status, dict(response.headers), json.loads(response.read() or b"null")
        finally:
            connection.close()

    def start(self, **parameters: Any) -> tuple[str, Connection]:
        """(path of the stream, its first connection, answered with nothing yet)."""
        asked = {"streamUrl": self.stream_url, "callbackUrl": self.callback_url, "tag": "test", **parameters}
        status, headers, _ = self.ask("POST", "/", asked)
        assert status == 201
        return headers["Location"], self.accept()

    def accept(self) -> Connection:
        return Connection(self.listener.accept()[0])

    def received(self, count: int) -> list[dict[str, Any]]:
        """Wait for a number of messages, whose callbacks are numbered from 1 without a gap."""
        found = [self.messages.get(timeout=DEADLINE) for _ in range(count)]
        first = int(found[0][0].rpartition("/")[2])
        assert [path for path, _ in found] == [f"/callback/{first + n}" for n in range(count)]
        return [message for _, message in found]

    def close(self) -> None:
        self.listener.close()
        self.callbacks.shutdown()
        self.callbacks.server_close()


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, str(SERVICE), "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2])
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def suite(service: int) -> Iterator[Suite]:
    found = Suite(service)
    yield found
    found.close()


def event(data: str, kind: str = "message", own: str = "") -> dict[str, Any]:
    return {"kind": "event", "event": {"type": kind, "id": own, "data": data}}


def test_the_service_lists_its_capabilities(suite: Suite) -> None:
    status, _, answer = suite.ask("GET", "/")
    assert status == 200
    assert answer == {
        "capabilities": [
            "bom", "comments", "event-type-listeners", "headers", "last-event-id", "post", "read-timeout",
            "report", "restart", "server-directed-shutdown-request",
        ]
    }  # fmt: skip


def test_bom_and_events_in_pieces(suite: Suite) -> None:
    path, stream = suite.start()
    stream.send(
        HEAD, b"\xef", b"\xbb\xbf", b"data: a\n", b"data: b\r", b"\r", b"id: 7\ndata: \xe6\xbc", b"\xa2\n\n"
    )
    assert suite.received(2) == [event("a\nb"), event("漢", own="7")]
    assert suite.ask("DELETE", path)[0] == 200
    assert stream.ended()


def test_comments(suite: Suite) -> None:
    path, stream = suite.start()
    stream.send(HEAD, b": beat\n\ndata: a\n\n:\n")
    wanted = [{"kind": "comment", "comment": " beat"}, event("a"), {"kind": "comment", "comment": ""}]
    assert suite.received(3) == wanted
    suite.ask("DELETE", path)


def test_event_type_listeners(suite: Suite) -> None:
    path, stream = suite.start()
    stream.send(HEAD, b"event: greeting\ndata: unheard\n\ndata: 1\n\n")
    assert suite.received(1) == [event("1")]
    assert suite.ask("POST", path, {"command": "listen", "listen": {"type": "greeting"}})[0] == 202
    stream.send(b"event: greeting\ndata: heard\n\nevent: other\ndata: x\n\ndata: 2\n\n")
    assert suite.received(2) == [event("heard", "greeting"), event("2")]
    suite.ask("DELETE", path)


def test_headers_and_last_event_id(suite: Suite) -> None:
    path, stream = suite.start(
        headers={"X-One": "1", "Accept-Language": "ja"}, lastEventId="漢-9", initialDelayMs=0
    )
    assert stream.method == "GET"
    assert stream.headers["x-one"] == "1"
    assert stream.headers["accept-language"] == "ja"
    assert stream.headers["accept"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache"
    assert stream.headers["last-event-id"].encode("latin-1").decode() == "漢-9"
    stream.send(HEAD, b"id: 10\ndata: a\n\nid: 11\ndata: b\n")
    assert suite.received(1) == [event("a", own="10")]
    stream.close()  # reconnects, and the incomplete event's id does not count
    again = suite.accept()
    assert again.headers["last-event-id"] == "10"
    assert again.headers["x-one"] == "1"
    suite.ask("DELETE", path)


@pytest.mark.parametrize("method", ["POST", "REPORT"])
def test_post_and_report(suite: Suite, method: str) -> None:
    path, stream = suite.start(method=method, body='{"ä": 1}', headers={"Content-Type": "application/json"})
    assert (stream.method, stream.body) == (method, '{"ä": 1}'.encode())
    assert stream.headers["content-type"] == "application/json"
    stream.send(HEAD, b"data: a\n\n")
    assert suite.received(1) == [event("a")]
    suite.ask("DELETE", path)


def test_read_timeout(suite: Suite) -> None:
    path, stream = suite.start(readTimeoutMs=1000, initialDelayMs=0)
    stream.send(HEAD, b"data: a\n\n")
    assert suite.received(1) == [event("a")]
    assert suite.received(1) == [{"kind": "error", "error": "stalled"}]  # before it reconnects
    again = suite.accept()  # no further event arrived, so the client drops the connection and reconnects
    assert stream.ended()
    again.send(HEAD, b"data: b\n\n")
    assert suite.received(1) == [event("b")]
    suite.ask("DELETE", path)


def test_an_event_above_the_limit_is_reported_with_its_size(suite: Suite) -> None:
    path, stream = suite.start(maxEventBytes=1000)
    stream.send(HEAD, b"data: a\n\n", b"data: " + b"x" * 1000 + b"\n\n")
    assert suite.received(1) == [event("a")]
    (error,) = suite.received(1)
    assert error["kind"] == "error"
    assert "1001 bytes" in error["error"]
    assert "at most 1000" in error["error"]
    assert "max_event" in error["error"]
    suite.ask("DELETE", path)
    path, stream = suite.start(maxLineBytes=500)
    stream.send(HEAD, b"data: " + b"x" * 600 + b"\n\n")
    (error,) = suite.received(1)
    assert "606 bytes" in error["error"]
    assert "max_line" in error["error"]
    suite.ask("DELETE", path)


def test_restart(suite: Suite) -> None:
    path, stream = suite.start(initialDelayMs=0)
    stream.send(HEAD, b"id: 1\ndata: a\n\n")
    assert suite.received(1) == [event("a", own="1")]
    assert suite.ask("POST", path, {"command": "restart"})[0] == 202
    assert stream.ended()
    again = suite.accept()
    assert again.headers["last-event-id"] == "1"
    again.send(HEAD, b"data: b\n\n")
    assert suite.received(1) == [event("b", own="1")]
    suite.ask("DELETE", path)


def test_the_server_directs_the_shutdown(suite: Suite) -> None:
    """A 204 ends the stream for good: the client reports it and does not reconnect, although its delay is zero."""
    path, stream = suite.start(initialDelayMs=0)
    stream.send(HEAD, b"data: a\n\n")
    assert suite.received(1) == [event("a")]
    stream.close()
    suite.accept().send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert suite.received(1) == [{"kind": "error", "error": "status-204"}]
    suite.listener.settimeout(0.25)
    with pytest.raises(TimeoutError):
        suite.listener.accept()
    assert suite.ask("DELETE", path)[0] == 200


def test_a_retry_field_sets_the_delay(suite: Suite) -> None:
    path, stream = suite.start(initialDelayMs=3_600_000)
    stream.send(HEAD, b"retry: 1\ndata: a\n\n")
    assert suite.received(1) == [event("a")]
    stream.close()
    assert suite.accept().target == "/stream"
    suite.ask("DELETE", path)


@pytest.mark.parametrize(
    "parameters",
    [
        {"streamUrl": None},
        {"streamUrl": "ftp://127.0.0.1/"},
        {"callbackUrl": None},
        {"initialDelayMs": -1},
        {"readTimeoutMs": "long"},
        {"headers": {"X": 1}},
        {"headers": {"X Y": "1"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"method": "GET /evil"},
        {"lastEventId": 7},
        {"lastEventId": "a\r\nY: b"},
        {"body": 7},
    ],
    ids=str,
)
def test_invalid_parameters(suite: Suite, parameters: dict[str, Any]) -> None:
    asked = {"streamUrl": suite.stream_url, "callbackUrl": suite.callback_url, **parameters}
    status, _, answer = suite.ask("POST", "/", asked)
    assert (status, *answer) == (400, "error")


def test_other_bad_requests(suite: Suite) -> None:
    assert suite.ask("POST", "/", b"{not json")[0] == 400
    assert suite.ask("POST", "/", [1])[0] == 400
    assert suite.ask("POST", "/streams/999", {"command": "restart"})[0] == 404
    assert suite.ask("DELETE", "/streams/999")[0] == 404
    assert suite.ask("PUT", "/")[0] == 405
    path, _ = suite.start()
    assert suite.ask("POST", path, {"command": "dance"})[0] == 400
    assert suite.ask("POST", path, {"command": "listen"})[0] == 400
    assert suite.ask("DELETE", path)[0] == 200
    assert suite.ask("DELETE", path)[0] == 404


def test_delete_quits_and_a_taken_port_is_reported() -> None:
    process = subprocess.Popen([sys.executable, str(SERVICE), "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        suite = Suite(int(process.stdout.readline().rpartition(":")[2]))
        taken = subprocess.run(
            [sys.executable, str(SERVICE), str(suite.port)], capture_output=True, text=True, timeout=DEADLINE
        )
        assert taken.returncode == 4
        assert taken.stderr == f"port {suite.port}: Address already in use; choose a free one\n"
        _, stream = suite.start()
        assert suite.ask("DELETE", "/")[0] == 200
        assert process.wait(DEADLINE) == 0
        assert stream.ended()
        suite.close()
    finally:
        process.kill()
        process.wait()
