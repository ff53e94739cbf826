from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fake_broker.fault import FINALS, Fault, HookContext
from fake_broker.traffic import Outgoing


@dataclass
class Swap(Fault):
    """Two clients get each other's reply. The first reply is held until there is one for a second client."""

    name = "swap"
    group = "reply"
    commands = FINALS

    _first: Outgoing | None = field(default=None, init=False, repr=False)

    def outgoing(self, message: Outgoing, _context: HookContext) -> Iterable[Outgoing]:
        first = self._first
        if first is None:
            self._first = message
            return ()
        # A second reply for the same client: nobody is there to swap with.
        if first.to == message.to:
            return (message,)
        self._first = None
        return (replace(message, to=first.to), replace(first, to=message.to))

    def withheld(self) -> int:
        return int(self._first is not None)

    def end(self, _context: HookContext) -> list[Outgoing]:
        first, self._first = self._first, None
        return [] if first is None else [first]
