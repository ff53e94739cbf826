from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Fault, HookContext
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class PartialOnly(Fault):
    """Send the whole answer as a PARTIAL, and never a FINAL."""

    name = "partial-only"
    group = "reply"
    commands = FINALS
    needs_partial = True

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, final=False))
