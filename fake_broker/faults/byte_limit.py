from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, ProxyFault, Wire, bounds, choice
from fake_broker.traffic import Outgoing


@dataclass
class ByteLimit(ProxyFault):
    """A connection carries so many bytes, both ways together, then it ends, or hangs without a word."""

    name = "byte-limit"
    group = "transport"

    size: int = bounds(1_000, 1, 1 << 40, "bytes")
    then: str = choice("rst", ("rst", "fin", "hang"), "rst, fin or hang")

    def begin(self, around: Around) -> None:
        around.orders.append(Wire({"limit": self.size, "limit_end": self.then}))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Wire({"limit": 0}, reset_mute=True))
        return []
