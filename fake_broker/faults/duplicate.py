from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import FINALS, Around, Fault, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Duplicate(Fault):
    """The final reply comes more than once."""

    name = "duplicate"
    group = "reply"
    commands = FINALS

    copies: int = bounds(2, 2, 1_000, "how often it is sent in all")

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        return (message,) * self.copies
