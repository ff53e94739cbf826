from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Fault, HookContext, Stage, bounds
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class HugeFrame(Fault):
    """The body of a reply has one more frame, a very large one."""

    name = "huge-frame"
    group = "oversize"
    stage = Stage.WIRE
    commands = REPLIES

    size: int = bounds(16 << 20, 1, 1 << 28, "bytes")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        yield replace(message, frames=(*frames_of(message, context.dialect), bytes(self.size)))
