from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Around, Fault, Stage, said
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class EmptyBody(Fault):
    """The body is one empty frame, or is not there at all."""

    name = "empty-body"
    group = "reply"
    stage = Stage.WIRE
    commands = REPLIES

    missing: bool = said(False, "no body frame at all, instead of one that is empty")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        emptied = replace(message, message=replace(message.message, body=(b"",)), frames=None)
        if self.missing:
            emptied = replace(emptied, frames=tuple(frames_of(emptied, around.dialect)[:-1]))
        yield emptied
