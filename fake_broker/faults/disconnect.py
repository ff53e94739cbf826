from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Deliver, Fault, Forget, HookContext, bounds
from fake_broker.mdp import Disconnect as DisconnectMessage
from fake_broker.traffic import Outgoing


@dataclass
class Disconnect(Fault):
    """Send DISCONNECT to every worker without a reason, once or repeatedly."""

    name = "disconnect"
    group = "heartbeat"

    interval: float = bounds(0.0, 0.0, 86_400.0, "seconds between two DISCONNECTs; 0: once only")

    def tick(self, context: HookContext) -> float | None:
        for worker, service in context.workers.items():
            # The broker drops the worker as well: its next message is then one of a worker that the broker does not
            # know.
            message = Outgoing(worker, DisconnectMessage(), service)
            context.orders += [Forget(worker), Deliver((message,))]
        return context.now + self.interval if self.interval else None
