"""The load of a guard, as one value: the command line and the pytest fixture build it, the swarm runs it.

A load option is one field here. Its range is checked before anything starts (``harness.experiment.options``) and again
by the swarm, when the field arrives over the control protocol (``harness.swarm.wire``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.sse.event import DEFAULT_LIMIT, MAX_LIMIT

MAX_CONNECTIONS = 10_000_000  # streams of one cycle
MAX_CONCURRENCY = 1_000_000  # streams open at once
MAX_SECONDS = 86_400.0  # seconds of any time in a load: a day
MAX_COUNT = 1 << 53  # JSON readers that use doubles lose whole numbers beyond it (RFC 8259, 6)
MAX_PROCESSES = 64  # generators on this machine
MAX_WORKERS = 1000  # generators on other machines
MIN_STALL = 0.001  # seconds
CLIENT_PLACEHOLDER = "{client}"  # in a path, query, header or body: the number of the client


def whole(default: int, low: int, high: int, *, unit: str = "") -> int:
    """A field that holds a whole number from ``low`` to ``high``. unit: ``bytes`` for a size."""
    number: int = field(default=default, metadata={"low": low, "high": high, "unit": unit})
    return number


def seconds(default: float | None, low: float) -> Any:
    """A field that holds a time from ``low`` seconds to a day, and None where that is the default."""
    return field(default=default, metadata={"low": low, "high": MAX_SECONDS, "unit": "seconds"})


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How clients connect and disconnect. Times are in seconds.

    connections: streams per cycle. concurrency: streams open at once. burst: streams that each generator opens at
    once; the next follow when response heads arrive, or after 0.1 s. dwell: longest life of a stream. events:
    disconnect after this number of events; 0: stay for the whole dwell. disconnect: a mode of DISCONNECT_MODES, or
    ``mixed``. hold: time that clients stay connected in the hold cycle; 0: no such cycle. mode: ``stream`` (SSE) or
    ``request`` (plain HTTP). keep_alive: in mode ``request`` each connection sends ``events`` requests. stall_after:
    silence, not even a comment, after which a stream is stalled; None: the dwell. max_event: bytes of the data of one
    event; a stream with a larger one fails with the cause ``limit``. expect: statuses, and classes of them, that
    count as an answer (``503``, ``4xx``). invalid_share: share of the requests that are invalid. clients: distinct
    clients that take turns; 0: one, or with ``{client}`` in a path, header or body a new one for each stream.
    headers, method, body: of every request. insecure: certificates are not verified. ca: a PEM file of authorities.
    source_addresses: local addresses from which streams are opened in turn. processes: generators on this machine; 0
    with ``remote_workers``, which join from other machines (``python -m harness.swarm.worker HOST:PORT``) at ``bind``
    ("HOST:PORT", "" for loopback and any port). locustfile: the users in it make the load instead. seed: of the
    swarm's random choices and of the broker's.
    """

    connections: int = whole(300, 1, MAX_CONNECTIONS)
    concurrency: int = whole(50, 1, MAX_CONCURRENCY)
    # Connections beyond the listen backlog wait for a retransmitted SYN, which takes seconds.
    burst: int = whole(100, 1, MAX_CONCURRENCY)
    dwell: float = seconds(2.0, MIN_STALL)
    events: int = whole(1, 0, MAX_CONNECTIONS)
    disconnect: str = "mixed"
    hold: float = seconds(5.0, 0.0)
    mode: str = "stream"
    keep_alive: bool = False
    stall_after: float | None = seconds(None, MIN_STALL)
    max_event: int = whole(DEFAULT_LIMIT, 1, MAX_LIMIT, unit="bytes")
    expect: tuple[str, ...] = ()
    invalid_share: float = 0.0
    clients: int = whole(0, 0, MAX_COUNT)
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes | None = None
    insecure: bool = False
    ca: Path | None = None
    source_addresses: tuple[str, ...] = ()
    processes: int = whole(1, 0, MAX_PROCESSES)
    remote_workers: int = whole(0, 0, MAX_WORKERS)
    bind: str = ""
    locustfile: Path | None = None
    seed: int = whole(0, -MAX_COUNT, MAX_COUNT)

    @property
    def workers(self) -> int:
        """Generators in all."""
        return self.processes + self.remote_workers

    @property
    def stall(self) -> float:
        """Seconds of silence after which a stream is stalled."""
        return self.dwell if self.stall_after is None else self.stall_after
