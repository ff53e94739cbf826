from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.dialects import Dialect
from fake_broker.fault import REPLIES, Fault, HookContext
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class NotUtf8(Fault):
    """The service name in the reply is not valid UTF-8."""

    name = "not-utf8"
    group = "malformed"
    commands = REPLIES

    def why_no_effect(self, dialect: Dialect) -> str:
        """See ``Fault``."""
        return "" if dialect.names_service else "its replies name no service"

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, service=b"\xff\xfe\x80"))
