from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import REQUESTS, Fault, Forget, HookContext
from fake_broker.mdp import Disconnect
from fake_broker.traffic import Outgoing


@dataclass
class DisconnectDuringRequest(Fault):
    """A worker gets a request and, immediately after it, DISCONNECT. The client's request is lost."""

    name = "disconnect-during-request"
    group = "heartbeat"
    commands = REQUESTS

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        context.orders.append(Forget(message.to))
        return (message, Outgoing(message.to, Disconnect(), message.service))
