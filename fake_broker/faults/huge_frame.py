from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Around, Fault, Stage, bounds
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class HugeFrame(Fault):
    """One very large frame more in the body."""

    name = "huge-frame"
    group = "oversize"
    stage = Stage.WIRE
    commands = REPLIES

    size: int = bounds(16 << 20, 1, 1 << 28, "bytes")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        yield replace(message, frames=(*frames_of(message, around.dialect), bytes(self.size)))
