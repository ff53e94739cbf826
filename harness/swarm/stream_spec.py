"""What a stream is to do, and the report of what happened to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream is to do. events 0: stay for the whole dwell (seconds).

    not_reading: stop reading as soon as the response head has arrived. hold: seconds that a ``half-close`` continues to
    read, and that a ``stall`` stays connected without reading, at most, before it closes.
    """

    path: str
    disconnect: str = "fin"
    dwell: float = 3600.0
    events: int = 0
    stall_after: float = 30.0
    hold: float = 1.0
    not_reading: bool = False


@dataclass(slots=True)
class Report:
    """What happened to a stream. Times are seconds since it began to connect; None: never happened.

    cause: None when it disconnected as its spec says, else why it failed. disconnect: how it disconnected; ``ended``
    when the service ended the response properly; "" when it failed otherwise. answered: a response head with an
    accepted status arrived. cut: Locust's Stop ended it, so that it is neither a success nor a failure. detail: a
    sentence on the cause, "" where the cause needs none.
    """

    spec: StreamSpec
    connect: float | None = None
    headers: float | None = None
    first_event: float | None = None
    life: float = 0.0
    events: int = 0
    bytes: int = 0
    status: int = 0
    answered: bool = False
    cut: bool = False
    retry_after: str = ""
    set_cookie: tuple[str, ...] = ()
    redirects: int = 0
    stalled: bool = False
    cause: str | None = None
    disconnect: str = ""
    detail: str = ""
