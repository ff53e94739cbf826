from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import HookContext, ProxyFault, Wire, bounds
from fake_broker.traffic import Outgoing


@dataclass
class MaxPeers(ProxyFault):
    """Refuse new connections while the maximum number of peers is connected."""

    name = "max-peers"
    group = "capacity"

    peers: int = bounds(1, 0, 1_000_000, "connections")

    def begin(self, context: HookContext) -> None:
        context.orders.append(Wire({"max_peers": self.peers}))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Wire({"max_peers": -1}))
        return []
