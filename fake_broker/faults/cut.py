from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import HookContext, ProxyFault, Wire, bounds, choice


@dataclass
class Cut(ProxyFault):
    """Close every connection, once or repeatedly, with RST or with FIN as after a clean close."""

    name = "cut"
    group = "transport"

    how: str = choice("rst", ("rst", "fin"), "rst or fin")
    interval: float = bounds(0.0, 0.0, 86_400.0, "seconds between two cuts; 0: once only")

    def tick(self, context: HookContext) -> float | None:
        context.orders.append(Wire(cut=self.how))
        return context.now + self.interval if self.interval else None
