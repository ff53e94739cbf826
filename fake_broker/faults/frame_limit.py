from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Fault, HookContext, Restart, bounds
from fake_broker.traffic import Outgoing


@dataclass
class FrameLimit(Fault):
    """Restart the broker with a low ZMQ_MAXMSGSIZE. A peer that sends a larger frame is disconnected, reconnects, sends
    again, and so on."""

    name = "frame-limit"
    group = "oversize"

    size: int = bounds(1_024, 32, 1 << 30, "bytes a frame may have")

    def begin(self, context: HookContext) -> None:
        context.orders.append(Restart(max_frame=self.size))

    def end(self, context: HookContext) -> list[Outgoing]:
        # libzmq reads the limit when a socket is bound, so the usual one needs a restart as well.
        context.orders.append(Restart())
        return []
