"""Loads that bring a profile to its end within seconds, yet slowly enough to be measured on the way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What the swarm should do in one cycle, and how many cycles to allow.

    connections: streams opened per cycle. concurrency: open at once. dwell: longest life of a stream in
    seconds. events: leave after so many. disconnect: the way to leave. paths: opened in turn.
    """

    connections: int = 12
    concurrency: int = 12
    dwell: float = 3.0
    events: int = 2
    cycles: int = 10
    disconnect: str = "fin"
    paths: tuple[str, ...] = ("/dashboard/sse", "/system/status/sse")


# 30 ticks of 4 checks of 2 descriptors are 240 per cycle: four whole cycles within 1,024.
GENTLE = Load(connections=10, concurrency=10, events=3)
# For streams that never begin, or a crash that needs threads waiting side by side.
HELD = Load(connections=12, concurrency=12, dwell=2.0, events=3)
# For a verdict on what gives everything back.
MANY = Load(connections=400, concurrency=20, events=1)
# Readers that stop reading long enough to fill what the kernel holds for them.
STALLED = Load(connections=10, concurrency=10, dwell=4.0, events=60, disconnect="stall")
