"""One stream: a request on a link, the events in its response, and the way it disconnects.

Points 12 to 14 of docs/swarm.md are here. Reconnecting (15, 16) belongs to the owner: a cycle opens an exact
number of streams, so its streams never reconnect, while those of an SseUser do.

A byte takes this path: ``Link._readable`` (recv) -> ``Stream.received`` -> ``Stream.body_received`` (called by
httptools) -> ``Decoder.feed``; when the stream is over, ``Tally.close`` adds its report to the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.core.errors import ConfigError
from harness.core.expected import ANY
from harness.core.sse.decoder import Comment, Decoder, Event, StreamLimit
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.redirect import REDIRECTS, redirected
from harness.http.request import Request
from harness.http.response import HEAD_LIMIT, MALFORMED, SWITCHING, ResponseParser
from harness.http.route import Route
from harness.swarm.link import Link
from harness.swarm.order import Order, Report
from harness.swarm.wheel import Wheel

OPENING = 0.1  # seconds after which a stream without headers no longer counts as being opened
IMMEDIATE = frozenset({"rst", "rst-early"})
RESETS = IMMEDIATE | {"stall"}
PATIENT = frozenset({"half-close", "stall"})


class Owner(Protocol):
    """Opens streams, and hears from them: a cycle of the pool, or an event source."""

    wheel: Wheel
    loop: Any

    def begun(self, stream: Stream) -> None:
        """The response head arrived, or did not for OPENING seconds. Exactly once, before over."""

    def headed(self, stream: Stream) -> None:
        """A response head arrived, of a redirect too."""

    def first(self, report: Report) -> None:
        """A stream's first event arrived."""

    def gap(self, report: Report, seconds: float, events: int) -> None:
        """A number of events of a stream arrived together, ``seconds`` after the one before."""

    def over(self, stream: Stream) -> None:
        """The stream is closed and its report is final. Exactly once."""

    def reroute(self, stream: Stream, request: Request) -> None:
        """Look up where a redirect leads, then call stream.follow; or stream.fail."""


class Stream:
    """Open from its construction until ``owner.over(stream)``.

    _pending: the cause by which it must end; "" once the response ended as its framing says; None while it goes
    on. _arrived: the moment of the last bytes. _progress: the moment of the last whole head or piece of body,
    because bytes that complete neither are no sign of life. _most: report.bytes beyond which a head, a trailer
    or the extension of a chunk is too long. _plain: the body is not read as events.
    """

    __slots__ = (
        "_arrived", "_begun", "_deliver", "_ends", "_last_event", "_link", "_most", "_owner", "_parser", "_pending",
        "_plain", "_progress", "_request", "_started", "decoder", "leaving", "over", "report", "slot",
    )  # fmt: skip

    delivers_comments = False  # what ``deliver`` is called with: events alone, or comments among them

    def __init__(
        self,
        owner: Owner,
        order: Order,
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
        self.report = Report(order)
        self._started = self._progress = self._arrived = owner.wheel.clock()
        self._last_event = 0.0
        self._begun = False
        self.leaving = False
        self.over = False  # True once it is closed
        self.slot = -1
        self._ends = self._started + order.dwell
        self._expect()
        # One place in the wheel serves for opening, dwell and stall: the earliest of them comes first, and ``expired``
        # puts the stream in again for the next.
        owner.wheel.put(self, self._started + min(order.dwell, OPENING, order.stall_after))
        self._link = Link(owner.loop, self)
        self._dial(route, source, last_event_id)

    def _expect(self) -> None:
        """Ready for a response."""
        self._parser = ResponseParser(self)
        self._pending: str | None = None
        self._plain = not self._request.streaming
        self._most = self.report.bytes + HEAD_LIMIT

    def _dial(self, route: Route, source: str | None, last_event_id: str) -> None:
        small = self.report.order.disconnect == "stall"
        self._link.dial(route, self._request.encode(last_event_id), source=source, small_window=small)

    @property
    def good(self) -> bool:
        """True while the response is as the request expects."""
        return not self._pending

    @property
    def endpoint(self) -> Endpoint:
        """Where it is now: a redirect moves it."""
        return self._request.endpoint

    def connected(self) -> None:
        """The link: the request is sent."""
        self._progress = self._owner.wheel.clock()
        if self.report.connect is None:
            self.report.connect = self._progress - self._started
        if self.report.order.disconnect == "rst-early":
            # From the loop: the constructor may still be running.
            self._link.call_soon(self.leave)

    def received(self, chunk: bytes) -> None:
        """The link: bytes arrived."""
        self._arrived = self._owner.wheel.clock()
        report = self.report
        report.bytes += len(chunk)
        # The parser calls head_complete, body_received and response_complete before this returns. They only note what
        # must happen, in _pending, because closing the connection would free the parser that is still running.
        try:
            self._parser.http.feed_data(chunk)
        except MALFORMED:
            self._pending = self._pending or causes.PROTOCOL
        # httptools keeps a header until it ends, so a peer that sends one for ever would fill our memory.
        if report.bytes > self._most:
            self._pending = causes.LIMIT
            report.detail = (
                report.detail or f"a response head, a trailer or a chunk's extension above {HEAD_LIMIT} bytes"
            )
        if self._pending is not None:
            self._decide(self._pending)
        elif report.events >= report.order.events > 0 and not self.leaving:
            # A short read has emptied the kernel's buffer, so closing need not read what is left in it.
            self.leave(drained=len(chunk) < 4096)
        elif report.order.silent and report.headers is not None:
            self.pause()

    def informational_received(self) -> None:
        """The parser: a sign of life, and nothing else."""
        self._progress = self._arrived

    def head_complete(self) -> None:
        """The parser: status and headers are known."""
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
            self._judge(status, self._request.streaming, self._request.expect)
            self._begin()
        self._owner.headed(self)

    def _judge(self, status: int, streaming: bool, expect: frozenset[int] | None) -> None:
        """Is it the response that was asked for?"""
        report, parser = self.report, self._parser
        if causes.accepted(status, streaming=streaming, expect=expect):
            report.answered = True
            # An error that is expected is a plain response, and an invalid request may get any.
            if status != 200 or (expect is ANY and parser.content_type.partition(b";")[0] != causes.MIME):
                self._plain = True
                self._pending = None
                return
        self._pending = causes.of_response(
            status, parser.content_type, parser.content_encoding, report.retry_after, streaming=streaming,
            expect=expect,
        )  # fmt: skip

    def body_received(self, body: bytes) -> None:
        """The parser: a piece of the body, without its framing."""
        report = self.report
        moment = self._progress = self._arrived
        self._most = report.bytes + HEAD_LIMIT
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
                self._deliver(error.events)  # those of this piece that were complete before
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
            self._owner.first(report)
            # Events of one read have come together: no time has passed between them.
            if count > 1:
                self._owner.gap(report, 0.0, count - 1)
        else:
            self._owner.gap(report, moment - self._last_event, count)
        self._last_event = moment
        report.events += count

    def response_complete(self) -> None:
        """The parser: the response has ended as its framing says."""
        if self._pending is None:
            self._pending = ""

    def _decide(self, pending: str) -> None:
        if pending == causes.REDIRECT:
            self._redirect()
        elif pending:
            self.fail(pending)
        else:
            self._ended()

    def _ended(self) -> None:
        """The service ended the response properly."""
        report = self.report
        if not self._plain and not report.events and not self.leaving:
            self.fail(causes.CLOSED)
        else:
            report.events += self._plain
            asked = self.leaving or self._plain
            report.left = report.order.disconnect if asked else "ended"
            self._over(reset=self._plain and report.order.disconnect in IMMEDIATE)

    def _redirect(self) -> None:
        report = self.report
        report.redirects += 1
        try:
            request = redirected(self._request, report.status, self._parser.location, report.redirects)
        except ConfigError:
            self.fail(causes.REDIRECT)
            return
        # The place that it leads to may be another host, and the lookup of its name must not block the loop.
        self._link.release()
        self._owner.reroute(self, request)

    def follow(self, request: Request, route: Route, source: str | None, last_event_id: str = "") -> None:
        """Go on at the place a redirect named."""
        if self.over:
            return
        self._parser.close()
        self._request = request
        self.report.status = 0
        self._expect()
        self._dial(route, source, last_event_id)

    def connection_lost(self, cause: str) -> None:
        """The link: the connection was closed, or failed."""
        # The peer has answered a half-close, or was faster than us: the stream has left as ordered.
        if self.leaving:
            self.report.left = self.report.order.disconnect
            self._over()
            return
        if cause == causes.CLOSED and self.report.headers is not None and not self._parser.framed:
            self._decide(self._pending or "")  # close-delimited: RFC 9112, 6.3
            return
        self.fail(cause)

    def expired(self, moment: float) -> None:
        """The wheel: dwell, stall time, or the time to open is over."""
        if self.over:
            return
        if not self._begun:
            self._begin()
        if self.leaving:
            self._over(reset=self.report.order.disconnect == "stall")
            return
        report = self.report
        if not self._link.paused and moment >= min(self._ends, self._progress + report.order.stall_after):
            self._link.catch_up()  # our own lateness is not the service's silence
            if self.over or self.leaving:
                return
        if moment >= self._ends:
            # Held for its dwell although it never began, or brought nothing that it should have.
            if report.headers is None or (report.order.events and not report.events):
                report.stalled = True
            self.leave()
            return
        due = self._ends
        # While we do not read, silence is ours: the stall time starts when reading does.
        if self._link.paused:
            self._progress = moment
        if not report.stalled:
            silent = self._progress + report.order.stall_after
            if moment >= silent:
                report.stalled = True
                self.on_stall()
                if self.over:
                    return
            else:
                due = min(due, silent)
        self._owner.wheel.put(self, due)

    @property
    def silence(self) -> str:
        """Which kind of it: nothing came, or nothing but pieces of a head."""
        return causes.DRIPPING if self._arrived > self._progress else causes.STALLED

    def on_stall(self) -> None:
        """Silent for too long; a cycle's stream stays for its dwell all the same."""

    def leave(self, *, drained: bool = False, hold: bool = True) -> None:
        """Go, in the ordered way; without ``hold``, at once. Told to the owner by ``over``."""
        if self.over or (self.leaving and hold):
            return
        order = self.report.order
        self.report.left = order.disconnect
        self.leaving = True
        patient = hold and order.disconnect in PATIENT and self._link.is_open
        if patient and order.disconnect == "half-close":
            try:
                self._link.shut()
            except OSError:
                patient = False
        elif patient:
            self._link.pause()
        if patient:
            wheel = self._owner.wheel
            moment = wheel.clock()
            wheel.put(self, max(min(moment + order.hold, self._ends), moment + OPENING))
        else:
            self._over(reset=order.disconnect in RESETS, drained=drained)

    def fail(self, cause: str) -> None:
        """End it now, by this cause."""
        if not self.over:
            self.report.cause = cause
            self.report.left = ""
            self._over()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._owner.begun(self)

    def pause(self) -> None:
        """Read no more until ``resume``: a slow reader makes the service wait."""
        self._link.pause()

    def resume(self) -> None:
        """Read again."""
        self._link.resume()

    def _over(self, *, reset: bool = False, drained: bool = False) -> None:
        if self.over:
            return
        owner, report = self._owner, self.report
        self._link.release(reset=reset, drained=drained)
        owner.wheel.drop(self)
        if report.stalled and report.cause is None:
            report.cause = self.silence
        report.life = owner.wheel.clock() - self._started
        self.over = True
        # Stream, link and parser refer to one another: only the garbage collector would find them, and at thousands of
        # streams a second memory would grow until it does.
        self._link.detach()
        self._parser.close()
        self._deliver = None
        self._begin()
        owner.over(self)
