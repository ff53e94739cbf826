from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import Around, Fault, choice
from fake_broker.traffic import HEARTBEAT, Incoming, Outgoing


@dataclass
class StopHeartbeat(Fault):
    """Heartbeats stop in one direction, or in both. ``out``: workers take the broker for dead; ``in``: theirs go
    unheard, and the broker takes them for dead."""

    name = "stop-heartbeat"
    group = "heartbeat"
    commands = frozenset({HEARTBEAT})

    direction: str = choice("out", ("out", "in", "both"), "out: to workers; in: from them; both")

    def incoming(self, _message: Incoming, _around: Around) -> list[Outgoing] | None:
        return None if self.direction == "out" else []

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        return (message,) if self.direction == "in" else ()
