"""The SSE contract-test protocol, served over the swarm's client: ``python tests/contract_service.py PORT``.

A suite outside starts streams here, tells what to listen for, and is told what the client received by posts to
``callbackUrl/1``, ``/2``, … in order. As in a browser, events come that are of type ``message`` or listened for.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import urllib.request  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import gevent.event  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402
from gevent.queue import Queue  # noqa: E402

from harness.core.errors import ConfigError  # noqa: E402
from harness.core.sse.decoder import Comment  # noqa: E402
from harness.core.sse.event import DEFAULT_LIMIT  # noqa: E402
from harness.http.endpoint import Endpoint  # noqa: E402
from harness.http.request import Request  # noqa: E402
from harness.http.route import Router  # noqa: E402
from harness.swarm.source import (  # noqa: E402
    FOR_EVER,
    RECONNECTION_TIME,
    EventSource,
    SourceListener,
    SourceOptions,
    StreamFailed,
)
from harness.swarm.stream_spec import StreamSpec  # noqa: E402
from harness.swarm.timer_wheel import TimerWheel  # noqa: E402

CAPABILITIES = [
    "bom", "comments", "event-type-listeners", "headers", "last-event-id", "post", "read-timeout", "report",
    "restart", "server-directed-shutdown-request",
]  # fmt: skip
BODY_LIMIT = 1 << 20  # bytes of a request to this service
CALLBACK_TIMEOUT = 10.0  # seconds
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BadRequest(Exception):
    """Answered with 400 and its text."""


def field(found: dict[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """One parameter of its type; absent or null gives the default."""
    value = found.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadRequest(f"{name}: {value!r}; expected {kind}")
    return value


def size(found: dict[str, Any], name: str) -> int:
    """A limit given in bytes."""
    value = field(found, name, int, DEFAULT_LIMIT)
    if value < 1:
        raise BadRequest(f"{name}: {value!r}; expected bytes from 1")
    return int(value)


def seconds(found: dict[str, Any], name: str, default: float) -> float:
    """A time given in milliseconds."""
    value = field(found, name, (int, float), None)
    if value is not None and not 0 <= value < 1e12:
        raise BadRequest(f"{name}: {value!r}; expected milliseconds from 0")
    return default if value is None else value / 1000


def url(found: dict[str, Any], name: str) -> Endpoint:
    """A URL that must be there."""
    text = field(found, name, str, "")
    try:
        return Endpoint.parse(text)
    except ConfigError as error:
        raise BadRequest(f"{name}: {error}") from None


class Client:
    """One stream of the suite's, and its callbacks."""

    def __init__(self, found: dict[str, Any], router: Router, wheel: TimerWheel) -> None:
        url(found, "callbackUrl")
        self.callback = found["callbackUrl"].rstrip("/")
        headers = field(found, "headers", dict, {})
        if not all(isinstance(value, str) for value in headers.values()):
            raise BadRequest(f"headers: {headers!r}; expected names and texts")
        body = field(found, "body", str, None)
        last = field(found, "lastEventId", str, "")
        if any(char in last for char in "\r\n\0"):
            raise BadRequest(f"lastEventId: {last!r}; expected what a stream can carry: no line ends, no NUL")
        try:
            request = Request(
                url(found, "streamUrl"),
                field(found, "method", str, "GET"),
                headers,
                None if body is None else body.encode(),
            )
        except ConfigError as error:
            raise BadRequest(str(error)) from None
        self.messages: Queue[dict[str, Any] | None] = Queue()
        self.source = EventSource(
            request,
            router,
            wheel,
            StreamSpec(
                request.endpoint.target, dwell=FOR_EVER, stall_after=seconds(found, "readTimeoutMs", FOR_EVER)
            ),
            options=SourceOptions(
                retry=seconds(found, "initialDelayMs", RECONNECTION_TIME),
                last_event_id=last,
                comments=True,
                max_line=size(found, "maxLineBytes"),
                max_event=size(found, "maxEventBytes"),
            ),
            listener=SourceListener(
                on_error=lambda cause: self.messages.put({"kind": "error", "error": cause})
            ),
        )
        self.types = {"message"}
        gevent.spawn(self.read)
        gevent.spawn(self.tell)

    def read(self) -> None:
        """Until the stream is closed, or cannot go on."""
        try:
            for item in self.source.open():
                if isinstance(item, Comment):
                    self.messages.put({"kind": "comment", "comment": item.text})
                elif item.type in self.types:
                    self.messages.put({"kind": "event", "event": item._asdict()})
        except StreamFailed as error:
            self.messages.put({"kind": "error", "error": str(error)})
        except ConfigError as error:
            self.messages.put({"kind": "error", "error": str(error)})
        self.messages.put(None)

    def tell(self) -> None:
        """Post the messages one after the other, so that they arrive in order."""
        for number in itertools.count(1):
            message = self.messages.get()
            if message is None:
                return
            request = urllib.request.Request(
                f"{self.callback}/{number}",
                json.dumps(message).encode(),
                {"Content-Type": "application/json"},
            )
            try:
                LOCAL.open(request, timeout=CALLBACK_TIMEOUT).close()
            except OSError as error:
                print(f"callback {request.full_url}: {error}", file=sys.stderr, flush=True)

    def command(self, found: dict[str, Any]) -> None:
        """What POST /streams/N orders."""
        name = found.get("command")
        if name == "listen":
            kind = field(field(found, "listen", dict, {}), "type", str, "")
            if not kind:
                raise BadRequest(f"listen: {found.get('listen')!r}; expected {{'type': …}}")
            self.types.add(kind)
        elif name == "restart":
            self.source.restart()
        else:
            raise BadRequest(f"command {name!r}; expected listen or restart")


class Service:
    """The WSGI application."""

    def __init__(self) -> None:
        self.router = Router()
        self.wheel = TimerWheel()
        self.clients: dict[str, Client] = {}
        self.numbers = itertools.count(1)
        self.quit = gevent.event.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        headers = [("Content-Type", "application/json")]
        try:
            status, answer = self.answer(environ, headers)
        except BadRequest as error:
            status, answer = "400 Bad Request", {"error": str(error)}
        start_response(status, headers)
        return [json.dumps(answer).encode()]

    def answer(self, environ: dict[str, Any], headers: list[tuple[str, str]]) -> tuple[str, object]:
        """(status, what goes out as JSON)."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"] or "/"
        if path == "/":
            if method == "GET":
                return "200 OK", {"capabilities": CAPABILITIES}
            if method == "DELETE":
                self.quit.set()
                return "200 OK", {}
            if method == "POST":
                client = Client(read(environ), self.router, self.wheel)
                place = f"/streams/{next(self.numbers)}"
                self.clients[place] = client
                headers.append(("Location", place))
                return "201 Created", {}
        elif path not in self.clients:
            return "404 Not Found", {"error": f"{path}: no such stream"}
        elif method == "POST":
            self.clients[path].command(read(environ))
            return "202 Accepted", {}
        elif method == "DELETE":
            self.clients.pop(path).source.close()
            return "200 OK", {}
        return "405 Method Not Allowed", {"error": f"{method} {path}"}


def read(environ: dict[str, Any]) -> dict[str, Any]:
    """The body, a JSON object."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_LIMIT:
        raise BadRequest(f"a body of {length} bytes; expected at most {BODY_LIMIT}")
    try:
        found = json.loads(environ["wsgi.input"].read(length))
    except ValueError as error:
        raise BadRequest(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest("expected a JSON object")
    return found


def main() -> None:
    """Serve until DELETE /."""
    parser = argparse.ArgumentParser(description="The SSE contract-test protocol over the swarm's client.")
    parser.add_argument("port", type=int, help="on 127.0.0.1; 0 takes a free one")
    options = parser.parse_args()
    service = Service()
    server = WSGIServer(("127.0.0.1", options.port), service, log=None)
    try:
        server.start()
    except OSError as error:
        parser.exit(4, f"port {options.port}: {os.strerror(error.errno or 0)}; choose a free one\n")
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    service.quit.wait()
    server.stop(timeout=1)
    for client in service.clients.values():
        client.source.close()


if __name__ == "__main__":
    main()
