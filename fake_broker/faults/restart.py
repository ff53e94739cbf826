from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import Around, Bind, Fault, bounds
from fake_broker.fault import Restart as RestartOrder
from fake_broker.traffic import Outgoing


@dataclass
class Restart(Fault):
    """The broker dies and comes back on the same port: connections end, workers and requests are forgotten."""

    name = "restart"
    group = "lifecycle"

    down: float = bounds(0.5, 0.0, 86_400.0, "seconds in between")
    _up_at: float = field(default=0.0, init=False, repr=False)

    def begin(self, around: Around) -> None:
        around.orders.append(RestartOrder(listen=False))
        self._up_at = around.now + self.down

    def tick(self, around: Around) -> float | None:
        if around.now < self._up_at:
            return self._up_at
        around.orders.append(Bind())
        return None

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Bind())
        return []
