"""One connection that is kept alive: several requests one after the other, then it is left (RFC 9112, 9.3)."""

from __future__ import annotations

from harness.http import causes
from harness.swarm.stream import Stream


class Exchange(Stream):
    """Asks ``order.events`` times, or with 0 once, and then stays until its dwell is over. ``report.events``
    counts the answers. A service that closes the connection between two answers has ended it properly."""

    __slots__ = ("_stays",)

    def response_complete(self) -> None:
        """The parser: asked here, because afterwards it has forgotten the headers."""
        super().response_complete()
        self._stays = self._parser.should_keep_alive()

    def _ended(self) -> None:
        report, order = self.report, self.report.order
        report.events += 1
        if report.first_event is None:
            report.first_event = report.headers
        if not self._stays:
            report.left = "ended" if report.events < order.events else order.disconnect
            self._over()
        elif report.events < order.events:
            self._again()
            self._link.send(self._request.encode())
        elif order.events == 0:
            self._again()
        else:
            self.leave(drained=True)

    def _again(self) -> None:
        self._parser.close()
        self._expect()

    def connection_lost(self, cause: str) -> None:
        report = self.report
        # A service may close an idle connection at any time (RFC 9112, 9.5); once it has answered, that is in order.
        idle = not self.leaving and report.events > 0 and report.order.events == 0
        if idle and cause == causes.CLOSED:
            report.left = "ended"
            self._over()
            return
        super().connection_lost(cause)
