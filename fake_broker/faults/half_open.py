from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import HookContext, ProxyFault, Wire
from fake_broker.traffic import Outgoing


@dataclass
class HalfOpen(ProxyFault):
    """Close the broker's side of every connection without FIN or RST, so that the peers do not notice. When the fault
    is cleared they get RST."""

    name = "half-open"
    group = "transport"

    def begin(self, context: HookContext) -> None:
        context.orders.append(Wire(cut="half-open"))

    def end(self, context: HookContext) -> list[Outgoing]:
        context.orders.append(Wire(reset_silenced=True))
        return []
