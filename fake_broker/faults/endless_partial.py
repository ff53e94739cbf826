from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import FINALS, Fault, HookContext, bounds
from fake_broker.mdp import ClientReply
from fake_broker.traffic import Outgoing


@dataclass
class EndlessPartial(Fault):
    """Send PARTIAL after PARTIAL and never a FINAL, until the client disconnects or the fault is cleared. A client that
    restarts its timeout at each PARTIAL waits for ever."""

    name = "endless-partial"
    group = "reply"
    commands = FINALS
    needs_partial = True

    interval: float = bounds(0.1, 0.001, 86_400.0, "seconds between two")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        assert isinstance(message.message, ClientReply)
        # The broker repeats a message with an interval until ``cause``, this fault, is switched off.
        yield replace(
            message,
            message=replace(message.message, final=False),
            interval=self.interval,
            cause=context.id,
        )
