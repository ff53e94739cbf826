from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Fault, HookContext, SetHeartbeat, bounds
from fake_broker.traffic import Outgoing


@dataclass
class HeartbeatInterval(Fault):
    """Send heartbeats to workers too often or too rarely. The broker's own timeout changes with the interval."""

    name = "heartbeat-interval"
    group = "heartbeat"

    interval: float = bounds(0.01, 0.001, 86_400.0, "seconds between two")

    def begin(self, context: HookContext) -> None:
        context.orders.append(SetHeartbeat(self.interval))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(SetHeartbeat(None))
        return []
