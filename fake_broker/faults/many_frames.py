from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Fault, HookContext, Stage, bounds
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class ManyFrames(Fault):
    """The message continues after the answer with thousands of small frames."""

    name = "many-frames"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES

    count: int = bounds(5_000, 1, 100_000, "additional frames")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        yield replace(message, frames=(*frames_of(message, context.dialect), *(b"x",) * self.count))
