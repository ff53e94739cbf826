from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, Beat, Fault, bounds
from fake_broker.traffic import Outgoing


@dataclass
class HeartbeatInterval(Fault):
    """Heartbeats to workers come too fast or too slow. The broker's own patience changes with the interval."""

    name = "heartbeat-interval"
    group = "heartbeat"

    interval: float = bounds(0.01, 0.001, 86_400.0, "seconds between two")

    def begin(self, around: Around) -> None:
        around.orders.append(Beat(self.interval))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Beat(None))
        return []
