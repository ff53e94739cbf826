from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Around, Fault, Stage, choice
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class Delimiter(Fault):
    """An empty frame in front that the dialect does not want, or the one it wants is missing."""

    name = "delimiter"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    change: str = choice("extra", ("extra", "missing"), "extra or missing")

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        frames = tuple(frames_of(message, around.dialect))
        if self.change == "extra":
            frames = (b"", *frames)
        elif frames and frames[0] == b"":
            frames = frames[1:]
        yield replace(message, frames=frames)
