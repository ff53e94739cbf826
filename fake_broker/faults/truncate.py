from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Around, Fault, Stage, bounds
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class Truncate(Fault):
    """The message ends early, inside its envelope; keep=1 leaves a single frame."""

    name = "truncate"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    keep: int = bounds(2, 1, 1_000, "frames that are left")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        yield replace(message, frames=tuple(frames_of(message, around.dialect)[: self.keep]))
