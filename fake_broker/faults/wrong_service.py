from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.dialects import Dialect
from fake_broker.fault import REPLIES, Around, Fault, said
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class WrongService(Fault):
    """The reply names a service that was not asked. Refused for majortomo, whose replies name none."""

    name = "wrong-service"
    group = "reply"
    commands = REPLIES

    named: str = said("somebody-else", "the name it gives")

    def unfit(self, dialect: Dialect) -> str:
        """See ``Fault``."""
        return "" if dialect.names_service else "its replies name no service"

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, service=self.named.encode()))
