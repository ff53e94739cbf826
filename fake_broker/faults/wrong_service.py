from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Around, Fault, said
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class WrongService(Fault):
    """The reply names a service that was not asked. (majortomo's replies name none.)"""

    name = "wrong-service"
    group = "reply"
    commands = REPLIES

    named: str = said("somebody-else", "the name it gives")

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, service=self.named.encode()))
