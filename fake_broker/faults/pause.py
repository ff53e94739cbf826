from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, ProxyFault, Wire, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Pause(ProxyFault):
    """A new connection is accepted at once, but its first byte passes only later: the handshake hangs."""

    name = "pause"
    group = "transport"

    delay: float = bounds(1.0, 0.0, 86_400.0, "seconds")

    def begin(self, around: Around) -> None:
        around.orders.append(Wire({"pause": self.delay}))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Wire({"pause": 0.0}))
        return []
