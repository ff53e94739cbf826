"""How the swarm goes to the service, the same in every cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Approach:
    """host: base URL. sources: local addresses from which streams are opened in turn.

    stall_after: seconds of silence, not even a comment, after which a stream counts as stalled.
    hold: seconds, at most, that ``half-close`` goes on reading and ``stall`` stays silent.
    method, headers, body: of every request. insecure: certificates are not verified.
    ca: a PEM file of authorities, or "". keep_alive: a plain request's connection asks again.
    """

    host: str
    stall_after: float = 30.0
    hold: float = 1.0
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    sources: tuple[str, ...] = ()
    insecure: bool = False
    ca: str = ""
    keep_alive: bool = False
