from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import REQUESTS, Around, Fault, Forget
from fake_broker.mdp import Disconnect
from fake_broker.traffic import Outgoing


@dataclass
class DisconnectDuringRequest(Fault):
    """A worker gets its request, and DISCONNECT right behind it. The client's request is lost."""

    name = "disconnect-during-request"
    group = "heartbeat"
    commands = REQUESTS

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        around.orders.append(Forget(message.to))
        return (message, Outgoing(message.to, Disconnect(), message.service))
