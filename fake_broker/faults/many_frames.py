from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Around, Fault, Stage, bounds
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class ManyFrames(Fault):
    """Thousands of small frames after the answer, in the same message."""

    name = "many-frames"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES

    count: int = bounds(5_000, 1, 100_000, "further frames")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        yield replace(message, frames=(*frames_of(message, around.dialect), *(b"x",) * self.count))
