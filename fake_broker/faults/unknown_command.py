from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Around, Fault, Stage
from fake_broker.traffic import Outgoing, frames_of


@dataclass
class UnknownCommand(Fault):
    """The frame after the header is a command that no version has (in 0.1, whose replies have no command, it
    stands in for the service)."""

    name = "unknown-command"
    group = "malformed"
    stage = Stage.WIRE
    commands = REPLIES
    also = TO_WORKERS

    def outgoing(self, message: Outgoing, around: Around) -> Iterable[Outgoing]:
        frames = list(frames_of(message, around.dialect))
        at = 2 if frames[:1] == [b""] else 1
        frames[at : at + 1] = [b"\xff"]
        yield replace(message, frames=tuple(frames))
