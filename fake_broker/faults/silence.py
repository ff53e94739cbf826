from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import REQUESTS, Fault, HookContext
from fake_broker.traffic import Incoming, Outgoing


@dataclass
class Silence(Fault):
    """Read and count requests, but neither answer them nor pass them to a worker."""

    name = "silence"
    group = "reply"
    commands = REQUESTS

    def incoming(self, _message: Incoming, _context: HookContext) -> list[Outgoing] | None:
        return []
