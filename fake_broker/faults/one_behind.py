from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fake_broker.fault import FINALS, Around, Fault
from fake_broker.traffic import Outgoing

MAX_CLIENTS = 10_000


@dataclass
class OneBehind(Fault):
    """Each final reply is kept until the same client's next one is due, and goes out in its place: what a
    client sees that reuses its socket after a timeout."""

    name = "one-behind"
    group = "reply"
    commands = FINALS

    _last: OrderedDict[bytes, Outgoing] = field(default_factory=OrderedDict, init=False, repr=False)

    def outgoing(self, message: Outgoing, _around: Around) -> Iterable[Outgoing]:
        before = self._last.pop(message.to, None)
        self._last[message.to] = message
        if len(self._last) > MAX_CLIENTS:
            self._last.popitem(last=False)
        return () if before is None else (before,)

    def kept(self) -> int:
        return len(self._last)

    def end(self, _around: Around) -> list[Outgoing]:
        kept = list(self._last.values())
        self._last.clear()
        return kept
