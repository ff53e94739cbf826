"""The amounts of a request: the load generator refuses others, and a mistake is reported before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.core.sse.event import LARGEST_LIMIT
from harness.swarm.wire import (
    MAX_CONCURRENCY,
    MAX_CONNECTIONS,
    MAX_COUNT,
    MAX_PROCESSES,
    MAX_SECONDS,
    MIN_STALL,
)

if TYPE_CHECKING:
    from harness.experiment.guard import Request


def check_amounts(request: Request) -> None:
    """Raises ConfigError naming the option whose number is outside of its range."""
    for name, number, low, high in (
        ("connections", request.connections, 1, MAX_CONNECTIONS),
        ("concurrency", request.concurrency, 1, MAX_CONCURRENCY),
        ("events", request.events, 0, MAX_CONNECTIONS),
        ("cycles", request.cycles, 3, MAX_CONNECTIONS),
        ("clients", request.clients, 0, MAX_COUNT),
        ("processes", request.processes, 1, MAX_PROCESSES),
        ("seed", request.seed, -MAX_COUNT, MAX_COUNT),
    ):
        if number < low:
            raise ConfigError(f"--{name} {number}: expected at least {low}")
        if number > high:
            raise ConfigError(f"--{name} {number}: expected at most {high}")
    if not 1 <= request.max_event <= LARGEST_LIMIT:
        raise ConfigError(
            f"--max-event {request.max_event}: expected a size from 1 byte to {LARGEST_LIMIT >> 20} MiB, such as 4 MiB"
        )
    for name, seconds, least in (
        ("dwell", request.dwell, MIN_STALL),
        ("stall-after", request.stall_after, MIN_STALL),
        ("hold", request.hold, 0.0),
    ):
        if seconds is not None and not least <= seconds <= MAX_SECONDS:
            raise ConfigError(
                f"--{name} {seconds:g}s: expected a time from {least:g}s to {MAX_SECONDS / 3600:.0f}h, such as 2s"
            )
