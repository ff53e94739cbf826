from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import REPLIES, TO_WORKERS, Around, Fault, Stage
from fake_broker.traffic import Outgoing


@dataclass
class Drop(Fault):
    """The work is done, but the reply is thrown away."""

    name = "drop"
    group = "reply"
    stage = Stage.TIMING
    commands = REPLIES
    also = TO_WORKERS

    def outgoing(self, _message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        return ()
