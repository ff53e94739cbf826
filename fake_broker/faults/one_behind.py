from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fake_broker.fault import FINALS, Fault, HookContext
from fake_broker.traffic import Outgoing

MAX_CLIENTS = 10_000  # clients whose last reply is kept; that of the one which has waited longest is dropped


@dataclass
class OneBehind(Fault):
    """Send each client the reply to its previous request: what a client gets that reuses its socket after a timeout."""

    name = "one-behind"
    group = "reply"
    commands = FINALS

    _last: OrderedDict[bytes, Outgoing] = field(default_factory=OrderedDict, init=False, repr=False)

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        before = self._last.pop(message.to, None)
        self._last[message.to] = message
        if len(self._last) > MAX_CLIENTS:
            self._last.popitem(last=False)
        return () if before is None else (before,)

    def withheld(self) -> int:
        return len(self._last)

    def end(self, _context: HookContext) -> list[Outgoing]:
        kept = list(self._last.values())
        self._last.clear()
        return kept
