from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import REQUESTS, Around, Fault, bounds, said
from fake_broker.mdp import ClientReply, ClientRequest
from fake_broker.traffic import Incoming, Outgoing


@dataclass
class AcceptThenRefuse(Fault):
    """So many requests are served, every later one is refused with a code, or by silence."""

    name = "accept-then-refuse"
    group = "capacity"
    commands = REQUESTS

    accept: int = bounds(100, 0, 10**9, "requests served")
    code: str = said("503", "what the others are answered; empty: nothing")
    _served: int = field(default=0, init=False, repr=False)

    def incoming(self, message: Incoming, _around: Around) -> list[Outgoing] | None:
        self._served += 1
        if self._served <= self.accept:
            return None
        if not self.code:
            return []
        assert isinstance(message.message, ClientRequest)
        refusal = ClientReply(message.service, (self.code.encode(),))
        return [Outgoing(message.identity, refusal, message.service)]
