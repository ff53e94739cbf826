from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import HookContext, ProxyFault, Wire, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Slices(ProxyFault):
    """Pass bytes a few at a time in both directions, so that no message arrives in one piece."""

    name = "slices"
    group = "transport"

    size: int = bounds(1, 1, 1 << 20, "bytes at once")
    gap: float = bounds(0.0, 0.0, 3_600.0, "seconds between two")

    def begin(self, context: HookContext) -> None:
        context.orders.append(Wire({"slice": self.size, "gap": self.gap}))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Wire({"slice": 0, "gap": 0.0}))
        return []
