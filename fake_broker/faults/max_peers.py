from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, ProxyFault, Wire, bounds
from fake_broker.traffic import Outgoing


@dataclass
class MaxPeers(ProxyFault):
    """The port is shut while so many peers are connected, and opens when one leaves."""

    name = "max-peers"
    group = "capacity"

    peers: int = bounds(1, 0, 1_000_000, "connections")

    def begin(self, around: Around) -> None:
        around.orders.append(Wire({"max_peers": self.peers}))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Wire({"max_peers": -1}))
        return []
