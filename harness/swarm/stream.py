"""One stream, driven by callbacks of gevent's loop: no greenlet, no thread, no timer of its own.

A greenlet per stream costs about 10 KiB and 23-30 us an event; a callback per readable socket costs below
2 KiB and 14-15 us (measured at 1,000 streams x 5 events/s).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import httptools

from harness.core.sse import Counter

READ = 64 * 1024
LINGER_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST (socket(7))
CLOSED_BY_PEER = "closed"


@dataclass(frozen=True, slots=True)
class Order:
    """What one stream is to do. events 0: stay for the whole dwell. stream: expect SSE."""

    path: str
    disconnect: str
    dwell: float
    events: int
    stream: bool = True


@dataclass(slots=True)
class Report:
    """What became of it; times are seconds since the connect began, None when it never happened.

    cause: None for a stream that left as ordered, else why it failed. left: the way it left.
    """

    order: Order
    connect: float | None = None
    headers: float | None = None
    first_event: float | None = None
    life: float = 0.0
    longest_gap: float = 0.0
    events: int = 0
    comments: int = 0
    bytes: int = 0
    status: int = 0
    retry_after: str = ""
    stalled: bool = False
    cause: str | None = None
    ids_missed: int = 0
    ids_repeated: int = 0
    ids_disordered: int = 0


class Stream:
    """Open at once; ``done(report)`` is called exactly once, when nothing of it is left."""

    __slots__ = (
        "_body", "_counter", "_done", "_hung", "_last", "_loop", "_parser", "_request", "_sock",
        "_stall_after", "_started", "_watcher", "closing_at", "report",
    )  # fmt: skip

    def __init__(
        self,
        order: Order,
        address: tuple[Any, ...],
        family: int,
        request: bytes,
        *,
        stall_after: float,
        source: str | None,
        done: Callable[[Stream], None],
    ) -> None:
        self.report = Report(order)
        self._loop = gevent.get_hub().loop
        self._request = request
        self._stall_after = stall_after
        self._done = done
        self._counter = Counter(check_ids=True)
        self._parser: Any = httptools.HttpResponseParser(self)
        self._started = self._last = now(self._loop)
        self._hung = False
        self._body = False
        self.closing_at: float | None = None
        self._watcher: Any = None
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        try:
            if source:
                self._sock.bind((source, 0))
            code = self._sock.connect_ex(address)
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code not in (0, errno.EINPROGRESS):
            self._loop.run_callback(self._fail, _cause(code))
            return
        self._watch(2, self._connected)

    def _watch(self, events: int, callback: Callable[[], None]) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
        self._watcher = self._loop.io(self._sock.fileno(), events)
        self._watcher.start(callback)

    def _connected(self) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(_cause(code))
            return
        self._last = now(self._loop)
        self.report.connect = self._last - self._started
        self._write()

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(_cause(error.errno or 0))
            return
        self._request = self._request[sent:]
        if self._request:
            self._watch(2, self._write)
            return
        if self.report.order.disconnect == "rst-early":
            self._leave()
            return
        self._watch(1, self._readable)

    def _readable(self) -> None:
        try:
            chunk = self._sock.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._ended(_cause(error.errno or 0))
            return
        if not chunk:
            self._ended(CLOSED_BY_PEER)
            return
        self.report.bytes += len(chunk)
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserCallbackError as error:
            self._fail("limit" if isinstance(error.__context__, ValueError) else "protocol")
            return
        except httptools.HttpParserError:
            self._fail("protocol")
            return
        self._after_read()

    def _after_read(self) -> None:
        report, order = self.report, self.report.order
        if report.status and report.headers is not None and self._sock.fileno() >= 0:
            if self.closing_at is not None:
                return
            if report.cause:
                self._fail(report.cause)
            elif order.events and report.events >= order.events:
                self.leave()

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        lower = name.lower()
        if lower == b"content-type":
            essence = value.split(b";")[0].strip().lower()
            if self.report.order.stream and essence != b"text/event-stream":
                self.report.cause = "content-type"
        elif lower == b"retry-after":
            self.report.retry_after = value.decode("latin-1")[:64]

    def on_headers_complete(self) -> None:
        """httptools: status and headers are known."""
        report = self.report
        report.status = self._parser.get_status_code()
        self._last = now(self._loop)
        report.headers = self._last - self._started
        if report.status in (429, 503):
            report.cause = "rate-limited"
        elif report.status != 200 and (report.order.stream or report.status >= 400):
            report.cause = f"status-{report.status}"

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body, framing removed."""
        if self.report.cause or not self.report.order.stream:
            return
        counter = self._counter
        comments = counter.comments
        found = counter.feed(body)
        if not found and counter.comments == comments:
            return
        moment = now(self._loop)
        report = self.report
        report.comments = counter.comments
        if found:
            if report.first_event is None:
                report.first_event = moment - self._started
            else:
                report.longest_gap = max(report.longest_gap, moment - self._last)
            report.events = counter.events
        self._last = moment

    def on_message_complete(self) -> None:
        """httptools: the response has ended."""
        self._body = True
        if not self.report.order.stream and not self.report.cause:
            self.report.events += 1
            self._loop.run_callback(self._leave)

    def _ended(self, cause: str) -> None:
        """The peer ended the stream: a failure, unless it was asked for or nothing more was due."""
        if self.closing_at is not None or self._hung:
            self._finish()
        elif not self.report.order.stream and self._body:
            self._leave()
        else:
            self._fail(cause)

    def tick(self, moment: float) -> None:
        """Called now and then by the pool's one timer: dwell, stall and patience are checked here."""
        if self.closing_at is not None:
            if moment >= self.closing_at:
                self._reset()
                self._finish()
            return
        if moment - self._last > self._stall_after:
            self.report.stalled = True
        if moment - self._started >= self.report.order.dwell:
            if self.report.order.events and self.report.events < self.report.order.events:
                self.report.stalled = self.report.stalled or self.report.events == 0
            self.leave()

    def leave(self) -> None:
        """Go, in the ordered way."""
        if self.closing_at is None and self._sock.fileno() >= 0:
            self._leave()

    def _leave(self) -> None:
        mode = self.report.order.disconnect
        if self._sock.fileno() < 0:
            return
        if mode in ("rst", "rst-early"):
            self._reset()
            self._finish()
        elif mode == "half-close":
            self._hung = True
            self.closing_at = now(self._loop) + min(1.0, self.report.order.dwell)
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._finish()
        elif mode == "stall":
            # Stop reading: the kernel's window closes, and the service's writes block.
            self.closing_at = now(self._loop) + min(1.0, self.report.order.dwell)
            if self._watcher is not None:
                self._watcher.stop()
        else:
            self._finish()

    def _reset(self) -> None:
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        except OSError:
            pass

    def _fail(self, cause: str) -> None:
        self.report.cause = self.report.cause or cause
        self._finish()

    def _finish(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._sock.fileno() < 0:
            return
        self._sock.close()
        self._parser = None
        counter, report = self._counter, self.report
        report.ids_missed, report.ids_repeated = counter.missed, counter.repeated
        report.ids_disordered = counter.disordered
        self.report.life = now(self._loop) - self._started
        self._done(self)


def now(loop: Any) -> float:
    """The loop's clock: seconds, monotonic, read once per loop turn."""
    return float(loop.now())


def _cause(code: int) -> str:
    """An errno as one of the few causes that statistics are kept by."""
    if code == errno.ECONNREFUSED:
        return "refused"
    if code in (errno.ECONNRESET, errno.EPIPE):
        return "reset"
    if code == errno.ETIMEDOUT:
        return "timeout"
    if code in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL):
        return "generator-limit"
    return errno.errorcode.get(code, "unknown").lower()
