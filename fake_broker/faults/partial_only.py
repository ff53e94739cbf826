from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Around, Fault
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class PartialOnly(Fault):
    """A PARTIAL with the whole answer, and never a FINAL."""

    name = "partial-only"
    group = "reply"
    commands = FINALS
    needs_partial = True

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        yield replace(message, message=replace(message.message, final=False))
