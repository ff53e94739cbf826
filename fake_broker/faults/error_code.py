from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Fault, HookContext, text_or_flag
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class ErrorCode(Fault):
    """The body of a reply is an error code as in RFC 8, instead of the answer."""

    name = "error-code"
    group = "reply"
    commands = FINALS

    code: str = text_or_flag("500", "such as 404, 500 or 501")

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, body=(self.code.encode(),)))
