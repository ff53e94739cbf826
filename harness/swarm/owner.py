"""Who opens streams: a cycle of the pool, or an event source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from harness.http.request import Request
from harness.swarm.order import Report
from harness.swarm.wheel import Wheel

if TYPE_CHECKING:
    from harness.swarm.stream import Stream


class Owner(Protocol):
    """Who opened a stream and is told about it."""

    wheel: Wheel
    loop: Any

    def begun(self, stream: Stream) -> None:
        """The response head has come, or has not for OPENING seconds. Exactly once, before over."""

    def first(self, report: Report) -> None:
        """A stream's first event has come."""

    def gap(self, report: Report, seconds: float, events: int) -> None:
        """So many events of a stream came at once, so long after the one before."""

    def over(self, stream: Stream) -> None:
        """Nothing is left of it; its report is final. Exactly once."""

    def reroute(self, stream: Stream, request: Request) -> None:
        """Look up where a redirect leads, then call stream.follow; or stream.fail."""
