from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, ProxyFault, Wire
from fake_broker.traffic import Outgoing


@dataclass
class HalfOpen(ProxyFault):
    """The broker's side of every connection is gone, and the peers are not told: no FIN, no RST, no byte. When
    the fault is cleared they get RST."""

    name = "half-open"
    group = "transport"

    def begin(self, around: Around) -> None:
        around.orders.append(Wire(cut="half-open"))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Wire(reset_mute=True))
        return []
