from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Fault, HookContext, Stage
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class UnknownCommand(Fault):
    """The frame after the header is a command that no version has. Replies of 0.1 have no command, so there it replaces
    the service name."""

    name = "unknown-command"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        frames = list(frames_of(message, context.dialect))
        # The command follows the header, which may follow an empty delimiter.
        at = 2 if frames[:1] == [b""] else 1
        frames[at : at + 1] = [b"\xff"]
        yield replace(message, frames=tuple(frames))
