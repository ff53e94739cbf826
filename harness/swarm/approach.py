"""How the swarm goes to the service, the same in every cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.core.sse.event import DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Approach:
    """host: base URL. sources: local addresses from which streams are opened in turn.

    stall_after: seconds of silence, not even a comment, after which a stream counts as stalled.
    hold: seconds, at most, that ``half-close`` goes on reading and ``stall`` stays silent.
    method, headers, body: of every request. insecure: certificates are not verified.
    expect: statuses and classes of them that answer a request (``503``, ``4xx``). clients: how many distinct clients
    take turns; 0: one, or with ``{client}`` in a path, header or body a new one for each stream. client_start,
    client_step: which of their numbers are ours.
    max_event: bytes of the data of one event; a stream with more fails with the cause ``limit``.
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
    expect: tuple[str, ...] = ()
    clients: int = 0
    client_start: int = 0
    client_step: int = 1
    max_event: int = DEFAULT_LIMIT
