from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Around, Fault, bounds
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class Garbage(Fault):
    """The envelope is right, the body is random bytes."""

    name = "garbage"
    group = "reply"
    commands = REPLIES

    size: int = bounds(64, 1, 1 << 24, "bytes")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        body = (around.random.randbytes(self.size),)
        yield replace(message, message=replace(message.message, body=body))
