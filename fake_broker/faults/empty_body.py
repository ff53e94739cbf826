from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Fault, HookContext, Stage, text_or_flag
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class EmptyBody(Fault):
    """The body of a reply is one empty frame, or is missing."""

    name = "empty-body"
    group = "reply"
    stage = Stage.WIRE
    commands = REPLIES

    missing: bool = text_or_flag(False, "no body frame, instead of an empty one")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        emptied = replace(message, message=replace(message.message, body=(b"",)), frames=None)
        # The one empty frame of the body is the last frame of the message.
        if self.missing:
            emptied = replace(emptied, frames=tuple(frames_of(emptied, context.dialect)[:-1]))
        yield emptied
