from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Around, Fault, Stage, said
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class Header(Fault):
    """Another protocol, or another version of it, in the header frame."""

    name = "header"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    header: str = said("MDPC09", "what the header frame says")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        frames = list(frames_of(message, around.dialect))
        at = 1 if frames[:1] == [b""] and len(frames) > 1 else 0
        frames[at : at + 1] = [self.header.encode()]
        yield replace(message, frames=tuple(frames))
