from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import Around, ProxyFault, Wire, bounds, choice


@dataclass
class Cut(ProxyFault):
    """Every connection ends, once or again and again: with RST, or with FIN as after a clean close."""

    name = "cut"
    group = "transport"

    how: str = choice("rst", ("rst", "fin"), "rst or fin")
    interval: float = bounds(0.0, 0.0, 86_400.0, "seconds until the next time; 0: once only")

    def tick(self, around: Around) -> float | None:
        around.orders.append(Wire(cut=self.how))
        return around.now + self.interval if self.interval else None
