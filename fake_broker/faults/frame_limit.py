from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, Fault, Restart, bounds
from fake_broker.traffic import Outgoing


@dataclass
class FrameLimit(Fault):
    """The broker starts anew with a low ZMQ_MAXMSGSIZE: who sends a larger frame is disconnected, connects
    again, sends again, and so on."""

    name = "frame-limit"
    group = "oversize"

    size: int = bounds(1_024, 32, 1 << 30, "bytes a frame may have")

    def begin(self, around: Around) -> None:
        around.orders.append(Restart(max_frame=self.size))

    def end(self, around: Around) -> list[Outgoing]:
        around.orders.append(Restart())
        return []
