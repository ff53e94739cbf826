from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, Fault, Read
from fake_broker.traffic import Outgoing


@dataclass
class NotReading(Fault):
    """Bound and accepting, but nothing is read: messages pile up to the high-water marks, then senders block."""

    name = "not-reading"
    group = "oversize"

    def begin(self, around: Around) -> None:
        around.orders.append(Read(False))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Read(True))
        return []
