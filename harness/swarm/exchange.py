"""One connection that is kept alive: several requests one after the other, then it is left (RFC 9112, 9.3)."""

from __future__ import annotations

from harness.http import causes
from harness.swarm.stream import Stream


class Exchange(Stream):
    """Asks ``order.events`` times, or with 0 once, and then stays until its dwell is over. ``report.events``
    counts the answers. A service that closes the connection between two answers has ended it properly."""

    __slots__ = ("_stays",)

    def on_message_complete(self) -> None:
        """httptools: asked here, for afterwards the parser has forgotten the headers."""
        super().on_message_complete()
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
            self._expect()
            self.say(self._request.encode())
        elif order.events == 0:
            self._expect()
        else:
            self.leave(drained=True)

    def gone(self, cause: str) -> None:
        report = self.report
        idle = not self.leaving and report.events > 0 and report.order.events == 0
        if idle and cause == causes.CLOSED:
            report.left = "ended"
            self._over()
            return
        super().gone(cause)
