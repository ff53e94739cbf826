from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Around, Fault, said
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class ErrorCode(Fault):
    """The body is a code, as RFC 8 gives them, instead of the answer."""

    name = "error-code"
    group = "reply"
    commands = FINALS

    code: str = said("500", "such as 404, 500 or 501")

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, body=(self.code.encode(),)))
