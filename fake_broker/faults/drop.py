from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import REPLIES, TO_WORKERS, Fault, HookContext, Stage
from fake_broker.traffic import Outgoing


@dataclass
class Drop(Fault):
    """The request is processed, but its reply is dropped."""

    name = "drop"
    group = "reply"
    stage = Stage.TIMING
    commands = REPLIES
    also = TO_WORKERS

    def outgoing(self, _message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        return ()
