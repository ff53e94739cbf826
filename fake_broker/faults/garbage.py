from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Fault, HookContext, bounds
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class Garbage(Fault):
    """The body of a reply is random bytes in a correct envelope."""

    name = "garbage"
    group = "reply"
    commands = REPLIES

    size: int = bounds(64, 1, 1 << 24, "bytes")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        body = (context.random.randbytes(self.size),)
        yield replace(message, message=replace(message.message, body=body))
