from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Fault, HookContext, Stage
from fake_broker.traffic import Outgoing


@dataclass
class Hold(Fault):
    """Hold replies until the order `release`, which sends all at once. All clients time out together until then."""

    name = "hold"
    group = "reply"
    stage = Stage.TIMING
    commands = REPLIES

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        yield replace(message, held=True)
