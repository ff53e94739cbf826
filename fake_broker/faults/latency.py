from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fake_broker.fault import REPLIES, TO_WORKERS, Fault, HookContext, Stage, bounds
from fake_broker.traffic import Outgoing


@dataclass
class Latency(Fault):
    """Delay replies by a fixed time with uniform jitter. Replies may overtake each other."""

    name = "latency"
    group = "reply"
    stage = Stage.TIMING
    commands = REPLIES
    also = TO_WORKERS

    delay: float = bounds(0.1, 0.0, 86_400.0, "seconds")
    jitter: float = bounds(0.0, 0.0, 86_400.0, "seconds at most, to either side")

    def outgoing(self, message: Outgoing, context: HookContext) -> Iterable[Outgoing]:
        # Added to a delay of another fault, so that two of them together are slower than one.
        late = self.delay + context.random.uniform(-self.jitter, self.jitter)
        yield replace(message, delay=message.delay + max(0.0, late))
