from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, ProxyFault, Wire, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Slices(ProxyFault):
    """Bytes pass a few at a time, both ways, so that nothing arrives whole."""

    name = "slices"
    group = "transport"

    size: int = bounds(1, 1, 1 << 20, "bytes at once")
    gap: float = bounds(0.0, 0.0, 3_600.0, "seconds between two")

    def begin(self, around: Around) -> None:
        around.orders.append(Wire({"slice": self.size, "gap": self.gap}))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Wire({"slice": 0, "gap": 0.0}))
        return []
