"""A persistent connection: it sends several requests one after the other, then closes (RFC 9112, 9.3)."""

from __future__ import annotations

from harness.http import causes
from harness.swarm.stream import Stream


class Exchange(Stream):
    """Sends ``spec.events`` requests; with 0 it sends one and stays connected for its dwell. ``report.events`` counts
    the responses. A service may close the connection between two responses: that is not a failure."""

    __slots__ = ("_keeps_alive",)

    def response_complete(self) -> None:
        """Called by the parser, which forgets the headers afterwards: whether the connection persists is read here."""
        super().response_complete()
        # A response without a length ends with its connection, whatever its headers promise; the parser knows both.
        self._keeps_alive = self._parser.should_keep_alive()

    def _complete(self) -> None:
        report, spec = self.report, self.report.spec
        report.events += 1
        if report.first_event is None:
            report.first_event = report.headers
        if not self._keeps_alive:
            # The service closes here. After its last response the client would have disconnected anyway.
            report.disconnect = "ended" if report.events < spec.events else spec.disconnect
            self._close()
        elif report.events < spec.events:
            self._expect_next()
            self._link.send(self._request.encode())
        elif spec.events == 0:
            # The client has had its response and stays connected. The parser is only there for a service that sends
            # more, or closes.
            self._expect_next()
        else:
            self.disconnect(drained=True)

    def _expect_next(self) -> None:
        # A new parser, because a ResponseParser holds the head of one response.
        self._parser.close()
        self._expect()

    def connection_lost(self, cause: str) -> None:
        report = self.report
        # A service may close an idle connection at any time (RFC 9112, 9.5); once it has responded, that is not a
        # failure.
        idle = not self.disconnecting and report.events > 0 and report.spec.events == 0
        if idle and cause == causes.CLOSED:
            report.disconnect = "ended"
            self._close()
            return
        super().connection_lost(cause)
