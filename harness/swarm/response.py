"""The response of one stream: its head, told apart from what is no event stream, and the events in its body.

Reading only: what is done about what was read is for the stream to say.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import httptools

from harness.core.sse import Counter, StreamLimit
from harness.http import causes
from harness.http.redirect import REDIRECTS
from harness.http.request import Request
from harness.swarm.link import Link
from harness.swarm.order import Order, Report
from harness.swarm.owner import Owner

HEAD_LIMIT = 64 * 1024  # bytes between two pieces of body
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
PRINTABLE = bytes(range(0x21, 0x7F))
GOOD = (causes.MIME, b"")  # the type and encoding that nearly every stream has


class Response(Link):
    """What httptools calls. _pending: the cause for which it must end; "" when it has ended as HTTP wants it; None
    while it goes on. _came: the moment of the last bytes. _last: that of the last progress, a whole head or a piece of
    body: what drips without them is no sign of life. _most: report.bytes beyond which a head, or trailer, or the
    extension of a chunk is too long, since httptools keeps all of a header until it ends."""

    __slots__ = (
        "_came", "_deliver", "_last", "_last_event", "_most", "_owner", "_parser", "_pending", "_request", "_started",
        "_type_encoding", "counter", "report",
    )  # fmt: skip

    def __init__(
        self,
        owner: Owner,
        order: Order,
        request: Request,
        counter: Counter,
        deliver: Callable[[bytes], None] | None,
    ) -> None:
        super().__init__(owner.loop)
        self._owner = owner
        self._request = request
        self.counter = counter
        self._deliver = deliver
        self._parser: Any = httptools.HttpResponseParser(self)
        self._type_encoding = (b"", b"")
        self._pending: str | None = None
        self.report = Report(order)
        self._started = self._last = self._came = owner.wheel.clock()
        self._last_event = 0.0
        self._most = HEAD_LIMIT

    @abstractmethod
    def _begin(self) -> None:
        """The response head has come."""

    def _expect(self) -> None:
        """Ready for another response."""
        self._parser = httptools.HttpResponseParser(self)
        self._type_encoding = (b"", b"")
        self._pending = None
        self.report.framed = False
        self._most = self.report.bytes + HEAD_LIMIT

    @property
    def good(self) -> bool:
        """True while nothing speaks against it."""
        return not self._pending

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        name = name.lower()
        report = self.report
        if name == b"content-type":
            self._type_encoding = (value, self._type_encoding[1])
        elif name == b"content-encoding":
            self._type_encoding = (self._type_encoding[0], value)
        elif name in FRAMING:
            report.framed = True
        elif name == b"retry-after":
            report.retry_after = value.decode("latin-1")[:64]
        elif name == b"location":
            # Bytes as they are, as browsers take them.
            report.location = quote_from_bytes(value, safe=PRINTABLE)
        elif name == b"set-cookie":
            report.set_cookie += (value.decode("latin-1"),)

    def on_headers_complete(self) -> None:
        """httptools: status and headers are known."""
        report = self.report
        self._last = self._came
        status = report.status = self._parser.get_status_code()
        if status < 200:
            self._pending = causes.PROTOCOL if status == 101 else None
            return
        if status in REDIRECTS:
            self._pending = causes.REDIRECT
            return
        report.headers = self._came - self._started
        if causes.accepted(status, streaming=self._request.streaming):
            report.answered = True
        if status != 200 or self._type_encoding != GOOD:
            self._pending = causes.of_response(
                status, *self._type_encoding, report.retry_after, streaming=self._request.streaming
            )
        else:
            self._pending = None
        self._begin()

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body, its framing removed."""
        report = self.report
        moment = self._last = self._came
        self._most = report.bytes + HEAD_LIMIT
        if self._pending is not None or not self._request.streaming:
            return
        try:
            count = self.counter.feed(body)
            if self._deliver is not None:
                self._deliver(body)
        except StreamLimit:
            self._pending = causes.LIMIT
            return
        if not count:
            return
        if report.first_event is None:
            report.first_event = moment - self._started
            self._owner.first(report)
            if count > 1:
                self._owner.gap(report, 0.0, count - 1)
        else:
            self._owner.gap(report, moment - self._last_event, count)
        self._last_event = moment
        report.events += count

    def on_message_complete(self) -> None:
        """httptools: the response has ended as HTTP wants it."""
        if self._pending is None and self.report.headers is not None:
            self._pending = ""
