from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import REQUESTS, Fault, HookContext, bounds, text_or_flag
from fake_broker.mdp import ClientReply, ClientRequest
from fake_broker.traffic import Incoming, Outgoing


@dataclass
class AcceptThenRefuse(Fault):
    """The broker serves a number of requests and refuses every later one, with a code or without a reply."""

    name = "accept-then-refuse"
    group = "capacity"
    commands = REQUESTS

    accept: int = bounds(100, 0, 10**9, "requests served")
    code: str = text_or_flag("503", "code in the reply to the others; empty: no reply")
    _served: int = field(default=0, init=False, repr=False)

    def incoming(self, message: Incoming, _context: HookContext) -> list[Outgoing] | None:
        self._served += 1
        if self._served <= self.accept:
            return None
        if not self.code:
            return []
        assert isinstance(message.message, ClientRequest)
        refusal = ClientReply(message.service, (self.code.encode(),))
        return [Outgoing(message.identity, refusal, message.service)]
