from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, Around, Fault, Stage
from fake_broker.traffic import Outgoing


@dataclass
class Hold(Fault):
    """Replies wait for the release barrier, then all go out at once: it lines timeouts up."""

    name = "hold"
    group = "reply"
    stage = Stage.TIMING
    commands = REPLIES

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        yield replace(message, held=True)
