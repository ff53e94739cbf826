from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import Bind, Fault, HookContext, bounds
from fake_broker.fault import Restart as RestartOrder
from fake_broker.traffic import Outgoing


@dataclass
class Restart(Fault):
    """Restart the broker on the same port: connections close, workers and requests are lost."""

    name = "restart"
    group = "lifecycle"

    down: float = bounds(0.5, 0.0, 86_400.0, "seconds until it listens again")
    _up_at: float = field(default=0.0, init=False, repr=False)

    def begin(self, context: HookContext) -> None:
        context.orders.append(RestartOrder(listen=False))
        self._up_at = context.now + self.down

    def tick(self, context: HookContext) -> float | None:
        if context.now < self._up_at:
            return self._up_at
        context.orders.append(Bind())
        return None

    def end(self, context: HookContext) -> list[Outgoing]:
        # The fault may be cleared while the broker is down. Where it listens again already, this order does nothing.
        context.orders.append(Bind())
        return []
