from __future__ import annotations

from dataclasses import dataclass

from fake_broker.fault import REQUESTS, Around, Fault
from fake_broker.traffic import Incoming, Outgoing


@dataclass
class Silence(Fault):
    """Requests are read and counted, and neither answered nor passed to a worker."""

    name = "silence"
    group = "reply"
    commands = REQUESTS

    def incoming(self, _message: Incoming, _around: Around) -> list[Outgoing] | None:
        return []
