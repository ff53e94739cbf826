from __future__ import annotations

from dataclasses import dataclass, field

from fake_broker.fault import Around, Bind, Fault, Unbind, bounds
from fake_broker.traffic import Outgoing

LOOK = 0.01
"""Seconds between two looks at the number of peers."""


@dataclass
class MaxPeers(Fault):
    """The port is shut while so many peers are connected, and opens when one leaves. Connections that the kernel
    takes within one look still get in."""

    name = "max-peers"
    group = "capacity"

    peers: int = bounds(1, 0, 1_000_000, "connections")
    _shut: bool = field(default=False, init=False, repr=False)

    def tick(self, around: Around) -> float | None:
        full = around.peers >= self.peers
        if full != self._shut:
            self._shut = full
            around.orders.append(Unbind() if full else Bind())
        return around.now + LOOK

    def end(self, around: Around) -> list[Outgoing]:
        if self._shut:
            around.orders.append(Bind())
        return []
