from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Fault, HookContext, Stage, text_or_flag
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class Header(Fault):
    """The header frame names another protocol or another version."""

    name = "header"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    header: str = text_or_flag("MDPC09", "content of the header frame")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        frames = list(frames_of(message, context.dialect))
        # The header is the first frame, or the second one after an empty delimiter.
        at = 1 if frames[:1] == [b""] and len(frames) > 1 else 0
        frames[at : at + 1] = [self.header.encode()]
        yield replace(message, frames=tuple(frames))
