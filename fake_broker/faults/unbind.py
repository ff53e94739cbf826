from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import Around, Bind, Fault, bounds
from fake_broker.fault import Unbind as UnbindOrder
from fake_broker.traffic import Outgoing


@dataclass
class Unbind(Fault):
    """Nobody listens for a while: connections end, new ones are refused, workers and requests are remembered. As
    an option of the command line it is a broker that never listens."""

    name = "unbind"
    group = "lifecycle"

    down: float = bounds(0.0, 0.0, 86_400.0, "seconds until the same port is bound again; 0: when cleared")
    _up_at: float = field(default=0.0, init=False, repr=False)

    def begin(self, around: Around) -> None:
        around.orders.append(UnbindOrder())
        self._up_at = around.now + self.down

    def tick(self, around: Around) -> float | None:
        if not self.down:
            return None
        if around.now < self._up_at:
            return self._up_at
        around.orders.append(Bind())
        return None

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Bind())
        return []
