"""One stream: a request on a link, the events in its response, and the way it disconnects.

Points 12 to 14 of docs/swarm.md are here. Reconnecting (15, 16) belongs to the owner: the streams of an SseUser
reconnect; those of a cycle never do, because a cycle opens an exact number of streams.

A byte takes this path: ``Link._readable`` (recv) -> ``Stream.received`` -> ``Stream.body_received`` (called by
httptools) -> ``Decoder.feed``; when the stream is closed, ``Tally.close`` adds its report to the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.core.errors import ConfigError
from harness.core.expected import ANY_STATUS
from harness.core.sse.decoder import Comment, Decoder, Event, StreamLimit
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.redirect import REDIRECTS, redirected
from harness.http.request import Request
from harness.http.response import HEAD_LIMIT, MALFORMED, SWITCHING, ResponseParser
from harness.http.route import Route
from harness.swarm.link import Link
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.timer_wheel import TimerWheel

OPENING = 0.1  # seconds after which a stream without headers no longer counts as being opened
# Bytes, well below those of one recv(2) (16 KiB in link.py): a read that brought fewer did not fill its buffer.
SHORT_READ = 4096
# Ways to disconnect: by RST at once, by RST at all, and those that stay for ``StreamSpec.hold`` before they close.
IMMEDIATE = frozenset({"rst", "rst-early"})
RESETS = IMMEDIATE | {"stall"}
HOLDING = frozenset({"half-close", "stall"})


class StreamOwner(Protocol):
    """Opens streams and is notified of what happens to them: a cycle of the pool, or an event source."""

    wheel: TimerWheel
    loop: Any

    def on_opened(self, stream: Stream) -> None:
        """The response head arrived, or did not within OPENING seconds. Called exactly once, before on_closed."""

    def on_head(self, stream: Stream) -> None:
        """A response head arrived. Called for each redirect too."""

    def on_first_event(self, report: Report) -> None:
        """A stream's first event arrived."""

    def on_gap(self, report: Report, seconds: float, events: int) -> None:
        """A number of events of a stream arrived together, ``seconds`` after the one before."""

    def on_closed(self, stream: Stream) -> None:
        """The stream is closed and its report is final. Called exactly once."""

    def on_redirect(self, stream: Stream, request: Request) -> None:
        """Resolve the target of a redirect, then call stream.follow or stream.fail."""


class Stream:
    """Open from its construction until it calls ``owner.on_closed``.

    _pending: the cause of failure with which the stream must end; "" once the response is complete; None before.
    _arrived: time of the last bytes. _progress: time of the last complete head or piece of body: a service that sends
    a head byte by byte makes none. _max_bytes: report.bytes beyond which a head, a trailer or the extension of a chunk
    is too long. _plain: the body is not decoded as events.
    """

    __slots__ = (
        "_arrived", "_deliver", "_ends", "_last_event", "_link", "_max_bytes", "_opened", "_owner", "_parser",
        "_pending", "_plain", "_progress", "_request", "_started", "closed", "decoder", "disconnecting", "report",
        "slot",
    )  # fmt: skip

    delivers_comments = False  # what ``deliver`` is called with: events alone, or comments among them

    def __init__(
        self,
        owner: StreamOwner,
        spec: StreamSpec,
        request: Request,
        route: Route,
        decoder: Decoder,
        *,
        source: str | None = None,
        last_event_id: str = "",
        deliver: Callable[[Sequence[Event | Comment]], None] | None = None,
    ) -> None:
        self._owner = owner
        self._request = request
        self.decoder = decoder
        self._deliver = deliver
        self.report = Report(spec)
        self._started = self._progress = self._arrived = owner.wheel.clock()
        self._last_event = 0.0
        self._opened = False
        self.disconnecting = False
        self.closed = False
        self.slot = -1
        self._ends = self._started + spec.dwell
        self._expect()
        # One timer serves for opening, dwell and stall: it is set to the earliest, and ``expired`` sets it again.
        owner.wheel.put(self, self._started + min(spec.dwell, OPENING, spec.stall_after))
        self._link = Link(owner.loop, self)
        self._dial(route, source, last_event_id)

    def _expect(self) -> None:
        """Prepare for the next response."""
        self._parser = ResponseParser(self)
        self._pending: str | None = None
        self._plain = not self._request.streaming
        self._max_bytes = self.report.bytes + HEAD_LIMIT

    def _dial(self, route: Route, source: str | None, last_event_id: str) -> None:
        small = self.report.spec.disconnect == "stall"
        self._link.dial(route, self._request.encode(last_event_id), source=source, small_window=small)

    @property
    def as_expected(self) -> bool:
        """Whether the response is so far what the request expects."""
        return not self._pending

    @property
    def endpoint(self) -> Endpoint:
        """Where the request goes, after redirects."""
        return self._request.endpoint

    def connected(self) -> None:
        """Called by the link: the request is sent."""
        self._progress = self._owner.wheel.clock()
        if self.report.connect is None:
            self.report.connect = self._progress - self._started
        if self.report.spec.disconnect == "rst-early":
            # Deferred to the loop, because the constructor may still be running.
            self._link.call_soon(self.disconnect)

    def received(self, chunk: bytes) -> None:
        """Called by the link: bytes arrived."""
        self._arrived = self._owner.wheel.clock()
        report = self.report
        report.bytes += len(chunk)
        # The parser calls head_complete, body_received and response_complete before this returns. They only note what
        # must happen, in _pending, because closing the connection would free the parser while it runs.
        try:
            self._parser.http.feed_data(chunk)
        except MALFORMED:
            self._pending = self._pending or causes.PROTOCOL
        # httptools buffers a header until it is complete, so an endless header would use unbounded memory.
        if report.bytes > self._max_bytes:
            self._pending = causes.LIMIT
            report.detail = (
                report.detail or f"a response head, a trailer or a chunk's extension above {HEAD_LIMIT} bytes"
            )
        if self._pending is not None:
            self._finish_response(self._pending)
        elif report.events >= report.spec.events > 0 and not self.disconnecting:
            # A short read has emptied the kernel's receive buffer, so the close need not drain it.
            self.disconnect(drained=len(chunk) < SHORT_READ)
        elif report.spec.not_reading and report.headers is not None:
            self.pause()

    def informational_received(self) -> None:
        """Called by the parser. The service made progress, and nothing else follows from it (RFC 9110, 15.2)."""
        self._progress = self._arrived

    def head_complete(self) -> None:
        """Called by the parser: status and headers are known."""
        report, parser = self.report, self._parser
        self._progress = self._arrived
        status = report.status = parser.status
        report.retry_after = parser.retry_after
        if parser.set_cookie:
            report.set_cookie += parser.set_cookie
        if status == SWITCHING:
            self._pending = causes.PROTOCOL
        elif status in REDIRECTS and status not in (self._request.expect or ()):
            self._pending = causes.REDIRECT
        else:
            report.headers = self._arrived - self._started
            self._check_status(status, self._request.streaming, self._request.expect)
            self._notify_opened()
        self._owner.on_head(self)

    def _check_status(self, status: int, streaming: bool, expect: frozenset[int] | None) -> None:
        """Note whether the response is what the request expects."""
        report, parser = self.report, self._parser
        if causes.accepted(status, streaming=streaming, expect=expect):
            report.answered = True
            # An error that is expected is a plain response, and an invalid request may get any response.
            if status != 200 or (
                expect is ANY_STATUS and parser.content_type.partition(b";")[0] != causes.MIME
            ):
                self._plain = True
                self._pending = None
                return
        self._pending = causes.of_response(
            status, parser.content_type, parser.content_encoding, report.retry_after, streaming=streaming,
            expect=expect,
        )  # fmt: skip

    def body_received(self, body: bytes) -> None:
        """Called by the parser: a piece of the body, without its framing."""
        report = self.report
        moment = self._progress = self._arrived
        self._max_bytes = report.bytes + HEAD_LIMIT
        # The body of an error or of a redirect holds no events, whatever it looks like.
        if self._pending is not None or self._plain:
            return
        try:
            decoder = self.decoder
            found = decoder.feed_with_comments(body) if self.delivers_comments else decoder.feed(body)
        except StreamLimit as error:
            self._pending = causes.LIMIT
            report.detail = str(error)
            if self._deliver is not None:
                self._deliver(error.events)  # the events of this piece before the one beyond the limit
            return
        if not found:
            return
        count = len(found)
        if self._deliver is not None:
            self._deliver(found)
            if self.delivers_comments:
                count = sum(isinstance(item, Event) for item in found)
                if not count:
                    return
        if report.first_event is None:
            report.first_event = moment - self._started
            self._owner.on_first_event(report)
            # Events of one read arrived together, so no time has passed between them.
            if count > 1:
                self._owner.on_gap(report, 0.0, count - 1)
        else:
            self._owner.on_gap(report, moment - self._last_event, count)
        self._last_event = moment
        report.events += count

    def response_complete(self) -> None:
        """Called by the parser: the response is complete."""
        if self._pending is None:
            self._pending = ""

    def _finish_response(self, pending: str) -> None:
        if pending == causes.REDIRECT:
            self._redirect()
        elif pending:
            self.fail(pending)
        else:
            self._complete()

    def _complete(self) -> None:
        """The service completed the response properly."""
        report = self.report
        if not self._plain and not report.events and not self.disconnecting:
            self.fail(causes.CLOSED)
        else:
            # A plain response counts as one event, so that ``events`` and ``--events`` mean the same in both modes.
            report.events += self._plain
            as_planned = self.disconnecting or self._plain
            # A plain response is complete, so the client has had what it wanted and disconnects in its way.
            report.disconnect = report.spec.disconnect if as_planned else "ended"
            self._close(reset=self._plain and report.spec.disconnect in IMMEDIATE)

    def _redirect(self) -> None:
        report = self.report
        report.redirects += 1
        try:
            request = redirected(self._request, report.status, self._parser.location, report.redirects)
        except ConfigError:
            self.fail(causes.REDIRECT)
            return
        # The redirect may lead to another host, whose name must be looked up without blocking the loop.
        self._link.release()
        self._owner.on_redirect(self, request)

    def follow(self, request: Request, route: Route, source: str | None, last_event_id: str = "") -> None:
        """Send the request to the target of a redirect."""
        if self.closed:
            return
        self._parser.close()
        self._request = request
        # The status of the redirect must not be taken for that of the final response.
        self.report.status = 0
        self._expect()
        self._dial(route, source, last_event_id)

    def connection_lost(self, cause: str) -> None:
        """Called by the link: the connection was closed, or failed."""
        # The peer answered a half-close, or closed first: the stream has disconnected as its spec says.
        if self.disconnecting:
            self.report.disconnect = self.report.spec.disconnect
            self._close()
            return
        if cause == causes.CLOSED and self.report.headers is not None and not self._parser.framed:
            self._finish_response(self._pending or "")  # close-delimited: RFC 9112, 6.3
            return
        self.fail(cause)

    def expired(self, moment: float) -> None:
        """Called by the wheel: the dwell, the stall time or the time to open is over."""
        if self.closed:
            return
        if not self._opened:
            self._notify_opened()
        if self.disconnecting:
            self._close(reset=self.report.spec.disconnect == "stall")
            return
        report = self.report
        if not self._link.paused and moment >= min(self._ends, self._progress + report.spec.stall_after):
            # Bytes may be waiting in the kernel while this process is late; then the service is not stalled.
            self._link.catch_up()
            if self.closed or self.disconnecting:
                return
        if moment >= self._ends:
            # It stayed for its whole dwell without a response head, or without any of the events that it expects.
            if report.headers is None or (report.spec.events and not report.events):
                report.stalled = True
            self.disconnect()
            return
        due = self._ends
        # A stream that does not read cannot tell whether the service stalls: the stall time starts with reading.
        if self._link.paused:
            self._progress = moment
        if not report.stalled:
            silent = self._progress + report.spec.stall_after
            if moment >= silent:
                report.stalled = True
                self.on_stall()
                if self.closed:
                    return
            else:
                due = min(due, silent)
        self._owner.wheel.put(self, due)

    @property
    def stall_cause(self) -> str:
        """The cause of a stall: no bytes arrived, or only incomplete pieces of a head."""
        return causes.DRIPPING if self._arrived > self._progress else causes.STALLED

    def on_stall(self) -> None:
        """The service sent nothing for the stall time. The stream of a cycle stays for its dwell all the same."""

    def disconnect(self, *, drained: bool = False, hold: bool = True) -> None:
        """Disconnect as its spec says; without ``hold``, at once. The owner is notified by ``on_closed``."""
        if self.closed or (self.disconnecting and hold):
            return
        spec = self.report.spec
        self.report.disconnect = spec.disconnect
        self.disconnecting = True
        holds = hold and spec.disconnect in HOLDING and self._link.is_open
        if holds and spec.disconnect == "half-close":
            try:
                self._link.shut()
            except OSError:
                holds = False
        elif holds:
            self._link.pause()
        if holds:
            wheel = self._owner.wheel
            moment = wheel.clock()
            # The lower limit lets the service notice a half-close even when the dwell is already over.
            wheel.put(self, max(min(moment + spec.hold, self._ends), moment + OPENING))
        else:
            self._close(reset=spec.disconnect in RESETS, drained=drained)

    def fail(self, cause: str) -> None:
        """Close the stream now, as failed."""
        if not self.closed:
            self.report.cause = cause
            self.report.disconnect = ""
            self._close()

    def _notify_opened(self) -> None:
        """Tell the owner, once, that this stream no longer counts as being opened."""
        if not self._opened:
            self._opened = True
            self._owner.on_opened(self)

    def pause(self) -> None:
        """Stop reading until ``resume``, so that TCP's flow control stops the service."""
        self._link.pause()

    def resume(self) -> None:
        """Read again."""
        self._link.resume()

    def _close(self, *, reset: bool = False, drained: bool = False) -> None:
        if self.closed:
            return
        owner, report = self._owner, self.report
        self._link.release(reset=reset, drained=drained)
        owner.wheel.drop(self)
        if report.stalled and report.cause is None:
            report.cause = self.stall_cause
        report.life = owner.wheel.clock() - self._started
        self.closed = True
        # Stream, link and parser form a reference cycle. Breaking it frees them at once: at thousands of streams a
        # second the garbage collector would run too late.
        self._link.detach()
        self._parser.close()
        self._deliver = None
        # A stream that failed before its head was never reported as opened, and its owner waits for that.
        self._notify_opened()
        owner.on_closed(self)
