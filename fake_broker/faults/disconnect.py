from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, Deliver, Fault, Forget, bounds
from fake_broker.mdp import Disconnect as DisconnectMessage
from fake_broker.traffic import Outgoing


@dataclass
class Disconnect(Fault):
    """Every worker is told DISCONNECT out of the blue, once or again and again."""

    name = "disconnect"
    group = "heartbeat"

    interval: float = bounds(0.0, 0.0, 86_400.0, "seconds until the next time; 0: once only")

    def tick(self, around: Around) -> float | None:
        for worker, service in around.workers.items():
            farewell = Outgoing(worker, DisconnectMessage(), service)
            around.orders += [Forget(worker), Deliver((farewell,))]
        return around.now + self.interval if self.interval else None
