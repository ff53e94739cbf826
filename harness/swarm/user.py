"""``SseUser``: what people import to write their own locustfile.

class Viewer(SseUser):
    @task
    def watch(self):
        with self.sse("/events") as stream:
            for event in stream:
                ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urljoin, urlsplit

import gevent.socket
import httptools
from locust import User

from harness.core.sse import Decoder, Event
from harness.swarm.gate import StreamFailure

READ = 64 * 1024


class EventStream:
    """One open stream: iterate over its events; leaving the ``with`` block closes it.

    Every life goes into Locust's statistics: connect, headers, first event, gap and life, in
    milliseconds. Raises StreamFailure for a refusal, another status or another content type.
    """

    def __init__(self, user: SseUser, path: str, headers: Mapping[str, str], stall_after: float) -> None:
        self._user = user
        self._path = path
        self._headers = dict(headers)
        self._stall_after = stall_after
        self._decoder = Decoder()
        self._parser = httptools.HttpResponseParser(self)
        self._events: list[Event] = []
        self._complete = self._ready = False
        self._type = b""
        self._bytes = 0
        self._first = True
        self._failure: StreamFailure | None = None

    def _report(self, name: str, seconds: float, length: int = 0, error: Exception | None = None) -> None:
        self._user.environment.events.request.fire(
            request_type=name, name=self._path, response_time=seconds * 1000, response_length=length,
            exception=error, context=self._user.context(),
        )  # fmt: skip

    def __enter__(self) -> EventStream:
        self._started = self._last = time.perf_counter()
        url = urlsplit(urljoin(self._user.host or "", self._path))
        try:
            self._socket = gevent.socket.create_connection(
                (url.hostname, url.port or 80), timeout=self._stall_after
            )
            self._report("connect", time.perf_counter() - self._started)
            headers = {
                "Host": url.netloc,
                "Accept": "text/event-stream",
                "Cache-Control": "no-cache",
                **self._headers,
            }
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            while not self._ready and not self._complete:
                if not self._read():
                    raise StreamFailure("closed before the headers")
            status = self._parser.get_status_code()
            if status != 200:
                raise StreamFailure(f"status-{status}")
            if self._type.split(b";")[0].strip().lower() != b"text/event-stream":
                raise StreamFailure("content-type")
        except OSError as error:
            self._fail("stalled" if isinstance(error, TimeoutError) else (error.strerror or str(error)))
        except StreamFailure as failure:
            self._fail(str(failure))
        self._report("headers", time.perf_counter() - self._started)
        return self

    def _fail(self, cause: str) -> None:
        self._failure = StreamFailure(cause)
        self._close()
        raise self._failure

    def _read(self) -> bool:
        chunk = self._socket.recv(READ)
        self._bytes += len(chunk)
        if chunk:
            self._parser.feed_data(chunk)
        return bool(chunk)

    def __iter__(self) -> Iterator[Event]:
        while True:
            while self._events:
                event = self._events.pop(0)
                moment = time.perf_counter()
                self._report(
                    "first event" if self._first else "gap",
                    moment - (self._started if self._first else self._last),
                )
                self._first, self._last = False, moment
                yield event
            if self._complete:
                return
            try:
                if not self._read():
                    return
            except OSError as error:
                self._fail("stalled" if isinstance(error, TimeoutError) else (error.strerror or str(error)))

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        if name.lower() == b"content-type":
            self._type = value

    def on_headers_complete(self) -> None:
        """httptools: all headers are in."""
        self._ready = True

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body, framing removed."""
        self._events.extend(self._decoder.feed(body))

    def on_message_complete(self) -> None:
        """httptools: the response has ended."""
        self._complete = True

    def _close(self) -> None:
        if hasattr(self, "_socket"):
            self._socket.close()
        self._report("life", time.perf_counter() - self._started, self._bytes, self._failure)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failure is None:
            self._close()


class SseUser(User):
    """A Locust user with ``self.sse(path)``."""

    abstract = True
    stall_after = 60.0  # seconds of silence after which a stream has failed

    def sse(self, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> EventStream:
        """A stream to use in a ``with`` block. stall_after: seconds, default of the class."""
        return EventStream(self, path, headers or {}, options.get("stall_after", self.stall_after))
