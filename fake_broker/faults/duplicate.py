from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import FINALS, Fault, HookContext, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Duplicate(Fault):
    """The final reply is sent more than once."""

    name = "duplicate"
    group = "reply"
    commands = FINALS

    copies: int = bounds(2, 2, 1_000, "copies in all")

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        return (message,) * self.copies
