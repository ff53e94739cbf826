from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Fault, HookContext, Stage, bounds
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class Truncate(Fault):
    """Cut the message off inside its envelope; keep=1 leaves a single frame."""

    name = "truncate"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    keep: int = bounds(2, 1, 1_000, "frames that remain")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        yield replace(message, frames=tuple(frames_of(message, context.dialect)[: self.keep]))
