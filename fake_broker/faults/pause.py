from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import HookContext, ProxyFault, Wire, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Pause(ProxyFault):
    """Accept a new connection at once, but delay its first byte, so that the handshake hangs."""

    name = "pause"
    group = "transport"

    delay: float = bounds(1.0, 0.0, 86_400.0, "seconds")

    def begin(self, context: HookContext) -> None:
        context.orders.append(Wire({"pause": self.delay}))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Wire({"pause": 0.0}))
        return []
