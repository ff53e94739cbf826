from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Fault, HookContext, Read
from fake_broker.traffic import Outgoing


@dataclass
class NotReading(Fault):
    """Accept connections but read nothing: messages queue up to the high-water marks, then senders block."""

    name = "not-reading"
    group = "oversize"

    def begin(self, context: HookContext) -> None:
        context.orders.append(Read(False))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Read(True))
        return []
