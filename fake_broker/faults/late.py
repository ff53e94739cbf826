from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Fault, HookContext, Stage, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Late(Fault):
    """Send the final reply after the client's timeout. Replies have no correlation id, so a client that reuses its
    socket takes the late reply for the answer to its next request."""

    name = "late"
    group = "reply"
    stage = Stage.TIMING
    commands = FINALS

    timeout: float = bounds(1.0, 0.0, 86_400.0, "seconds until the client times out")
    margin: float = bounds(0.05, 0.0, 86_400.0, "seconds after the timeout")

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        yield replace(message, delay=message.delay + self.timeout + self.margin)
