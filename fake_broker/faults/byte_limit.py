from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import HookContext, ProxyFault, Wire, bounds, choice
from fake_broker.traffic import Outgoing


@dataclass
class ByteLimit(ProxyFault):
    """A connection closes, or hangs, after a number of bytes in both directions together."""

    name = "byte-limit"
    group = "transport"

    size: int = bounds(1_000, 1, 1 << 40, "bytes")
    then: str = choice("rst", ("rst", "fin", "hang"), "rst, fin or hang")

    def begin(self, context: HookContext) -> None:
        context.orders.append(Wire({"limit": self.size, "limit_end": self.then}))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Wire({"limit": 0}, reset_silenced=True))
        return []
