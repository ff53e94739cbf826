"""One stream: a request, its response, and the way it is left.

Points 12 to 14 of docs/swarm.md are here; reconnecting (15, 16) belongs to who holds the stream: a cycle
opens an exact number of streams, so its streams never reconnect, while an SseUser's do.
"""

from __future__ import annotations

from collections.abc import Callable

import httptools

from harness.core.errors import ConfigError
from harness.core.sse import Counter
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.http.redirect import redirected
from harness.http.request import Request
from harness.http.route import Route
from harness.swarm.order import Order
from harness.swarm.owner import Owner
from harness.swarm.response import Response

OPENING = 0.1  # seconds after which a stream without headers no longer counts as being opened
IMMEDIATE = frozenset({"rst", "rst-early"})
RESETS = IMMEDIATE | {"stall"}
PATIENT = frozenset({"half-close", "stall"})


class Stream(Response):
    """Open from its construction until ``owner.over(stream)``."""

    __slots__ = ("_begun", "_ends", "leaving", "slot")

    def __init__(
        self,
        owner: Owner,
        order: Order,
        request: Request,
        route: Route,
        counter: Counter,
        *,
        source: str | None = None,
        last_event_id: str = "",
        deliver: Callable[[bytes], None] | None = None,
    ) -> None:
        super().__init__(owner, order, request, counter, deliver)
        self._begun = False
        self.leaving = False
        self.slot = -1
        self._ends = self._started + order.dwell
        owner.wheel.put(self, self._started + min(order.dwell, OPENING, order.stall_after))
        self.dial(
            route,
            request.encode(last_event_id),
            source=source,
            small_window=order.disconnect == "stall",
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where it is now: a redirect moves it."""
        return self._request.endpoint

    @property
    def over(self) -> bool:
        """True once nothing is left of it."""
        return self._parser is None

    def linked(self) -> None:
        self._last = self._owner.wheel.clock()
        if self.report.connect is None:
            self.report.connect = self._last - self._started
        if self.report.order.disconnect == "rst-early":
            # From the loop: the constructor may still be running.
            self._waiting = self._loop.run_callback(self._early)

    def _early(self) -> None:
        self._waiting = None
        self.leave()

    def received(self, chunk: bytes) -> None:
        self._came = self._owner.wheel.clock()
        report = self.report
        report.bytes += len(chunk)
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserError:
            self._pending = self._pending or causes.PROTOCOL
        except httptools.HttpParserUpgrade:
            self._pending = causes.PROTOCOL
        if report.bytes > self._most:
            self._pending = causes.LIMIT
        if self._pending is not None:
            self._decide(self._pending)
        elif report.events >= report.order.events > 0 and not self.leaving:
            self.leave(drained=len(chunk) < 4096)
        elif report.order.silent and report.headers is not None:
            self.pause()

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
        if self._request.streaming and not report.events and not self.leaving:
            self.fail(causes.CLOSED)
        else:
            report.events += not self._request.streaming
            asked = self.leaving or not self._request.streaming
            report.left = report.order.disconnect if asked else "ended"
            self._over(reset=not self._request.streaming and report.order.disconnect in IMMEDIATE)

    def _redirect(self) -> None:
        report = self.report
        report.redirects += 1
        try:
            request = redirected(self._request, report.status, report.location, report.redirects)
        except ConfigError:
            self.fail(causes.REDIRECT)
            return
        self.release()
        self._owner.reroute(self, request)

    def follow(self, request: Request, route: Route, source: str | None, last_event_id: str = "") -> None:
        """Go on at the place a redirect named."""
        if self.over:
            return
        self._request = request
        self._expect()
        self.report.location, self.report.status = "", 0
        small = self.report.order.disconnect == "stall"
        self.dial(route, request.encode(last_event_id), source=source, small_window=small)

    def gone(self, cause: str) -> None:
        if self.leaving:
            self.report.left = self.report.order.disconnect
            self._over()
            return
        if cause == causes.CLOSED and self.report.headers is not None and not self.report.framed:
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
        if not self.paused and moment >= min(self._ends, self._last + report.order.stall_after):
            self.catch_up()  # our own lateness is not the service's silence
            if self.over or self.leaving:
                return
        if moment >= self._ends:
            # Held for its dwell although it never began, or brought nothing that it should have.
            if report.headers is None or (report.order.events and not report.events):
                report.stalled = True
            self.leave()
            return
        due = self._ends
        if self.paused:
            self._last = moment
        if not report.stalled:
            silent = self._last + report.order.stall_after
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
        return causes.DRIPPING if self._came > self._last else causes.STALLED

    def on_stall(self) -> None:
        """Silent for too long; a cycle's stream stays for its dwell all the same."""

    def leave(self, *, drained: bool = False, hold: bool = True) -> None:
        """Go, in the ordered way; without ``hold``, at once. Told to the owner by ``over``."""
        if self._parser is None or (self.leaving and hold):
            return
        order = self.report.order
        self.report.left = order.disconnect
        self.leaving = True
        patient = hold and order.disconnect in PATIENT and self._sock is not None
        if patient and order.disconnect == "half-close":
            try:
                self.shut()
            except OSError:
                patient = False
        elif patient:
            self.pause()
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

    def _over(self, *, reset: bool = False, drained: bool = False) -> None:
        if self._parser is None:
            return
        owner, report = self._owner, self.report
        self.release(reset=reset, drained=drained)
        owner.wheel.drop(self)
        if report.stalled and report.cause is None:
            report.cause = self.silence
        report.life = owner.wheel.clock() - self._started
        self._parser = None
        self._deliver = None
        if not self._begun:
            self._begun = True
            owner.begun(self)
        owner.over(self)
