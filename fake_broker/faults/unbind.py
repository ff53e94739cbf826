from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import Bind, Fault, HookContext, bounds
from fake_broker.fault import Unbind as UnbindOrder
from fake_broker.traffic import Outgoing


@dataclass
class Unbind(Fault):
    """Stop listening for a while: connections close and new ones are refused; workers and requests are kept. With
    ``--fault`` the broker never listens."""

    name = "unbind"
    group = "lifecycle"

    down: float = bounds(0.0, 0.0, 86_400.0, "seconds until the same port is bound again; 0: when cleared")
    _up_at: float = field(default=0.0, init=False, repr=False)

    def begin(self, context: HookContext) -> None:
        context.orders.append(UnbindOrder())
        self._up_at = context.now + self.down

    def tick(self, context: HookContext) -> float | None:
        if not self.down:
            return None
        if context.now < self._up_at:
            return self._up_at
        context.orders.append(Bind())
        return None

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Bind())
        return []
