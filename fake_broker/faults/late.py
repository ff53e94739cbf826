from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Around, Fault, Stage, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Late(Fault):
    """The final reply comes after the client's timeout. There is no correlation id, so a client that kept its
    socket takes it for the answer to what it asked next."""

    name = "late"
    group = "reply"
    stage = Stage.TIMING
    commands = FINALS

    timeout: float = bounds(1.0, 0.0, 86_400.0, "seconds the client waits")
    margin: float = bounds(0.05, 0.0, 86_400.0, "seconds after that")

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        yield replace(message, delay=message.delay + self.timeout + self.margin)
