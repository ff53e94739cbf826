"""The settings: addresses, intervals, timeouts, bounds. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

TIMES = (
    "dashboard_interval",
    "status_interval",
    "timeout",
    "dashboard_deadline",
    "status_deadline",
    "breaker_recovery",
    "keep_alive",
)
DEFAULT_SCALE = 0.05  # ticks of 250 and 100 ms, timeouts of 1.5 s
# Seconds. A scaled deadline below this would be missed by a healthy broker on a busy machine.
MIN_DEADLINE = 0.1


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings; the times' defaults are those of the service that crashed.

    timeout: how long a receive waits for the broker. deadlines: how long a tick waits for its checks,
    where a defect or mitigation sets a deadline. health_url: where the HTTP fallback asks
    (``{component}`` is replaced); None is this service's own stand-in for its components.
    """

    broker: str = "tcp://127.0.0.1:9797"
    host: str = "127.0.0.1"
    port: int = 0
    dashboard_interval: float = 5.0
    status_interval: float = 2.0
    timeout: float = 30.0
    dashboard_deadline: float = 1.0
    status_deadline: float = 0.5
    breaker_failures: int = 5
    breaker_recovery: float = 30.0
    keep_alive: float = 30.0
    workers: int = 32
    pool_size: int = 8
    socket_limit: int = 64
    history_limit: int = 256
    health_url: str | None = None
    seed: int = 0

    def scaled(self, factor: float) -> Settings:
        """The same with every time multiplied by ``factor``; deadlines not below ``MIN_DEADLINE``,
        nor above what they were."""
        times = {name: getattr(self, name) * factor for name in TIMES}
        for name in ("dashboard_deadline", "status_deadline"):
            times[name] = max(times[name], min(MIN_DEADLINE, getattr(self, name)))
        return replace(self, **times)

    def timed(self, times: Mapping[str, float]) -> Settings:
        """The same with these times, in seconds, by name."""
        return replace(self, **{name: times[name] for name in TIMES if name in times})  # type: ignore[arg-type]
