from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fake_broker.fault import Fault, HookContext, choice
from fake_broker.traffic import HEARTBEAT, Incoming, Outgoing


@dataclass
class StopHeartbeat(Fault):
    """Stop heartbeats in one direction or in both. ``out``: workers conclude that the broker has exited. ``in``: the
    broker ignores theirs and drops them."""

    name = "stop-heartbeat"
    group = "heartbeat"
    commands = frozenset({HEARTBEAT})

    direction: str = choice("out", ("out", "in", "both"), "out: to workers; in: from them; both")

    def incoming(self, _message: Incoming, _context: HookContext) -> list[Outgoing] | None:
        return None if self.direction == "out" else []

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        return (message,) if self.direction == "in" else ()
