from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.dialects import Dialect
from fake_broker.fault import REPLIES, Fault, HookContext, text_or_flag
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class WrongService(Fault):
    """The reply names another service than the request. Refused for majortomo, whose replies name none."""

    name = "wrong-service"
    group = "reply"
    commands = REPLIES

    named: str = text_or_flag("somebody-else", "service name in the reply")

    def why_no_effect(self, dialect: Dialect) -> str:
        """See ``Fault``."""
        return "" if dialect.names_service else "its replies name no service"

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, service=self.named.encode()))
