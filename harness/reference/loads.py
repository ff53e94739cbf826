"""Loads that lead each profile to its outcome within seconds, but slowly enough for the growth to be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Load:
    """What the swarm should do in one cycle, and how many cycles to allow.

    connections: streams opened per cycle. concurrency: open at once. dwell: longest life of a stream in
    seconds. events: disconnect after this many (0: after the dwell alone). settle: seconds without change that count as
    rest. seconds: for all cycles together. sensitivity: leak per connection that must not be missed.
    disconnect: how clients disconnect. paths: opened in turn. ramp: clients of each cycle in place of
    ``connections`` and ``concurrency``; empty: every cycle is alike. sizes: factors of both, cycle by cycle
    in turn: cycles of different size tell a leak from a pool. runtime: whose counters are read inside the
    service.
    """

    connections: int = 12
    concurrency: int = 12
    dwell: float = 3.0
    events: int = 2
    cycles: int = 10
    settle: float = 0.3
    seconds: float = 20.0
    sensitivity: float = 1e-3
    disconnect: str = "fin"
    paths: tuple[str, ...] = ("/dashboard/sse", "/system/status/sse")
    ramp: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    runtime: str = "none"


# 24 ticks of 4 checks of 2 descriptors are 192 per cycle: five whole cycles within 1,024.
# Few connections can exclude only a leak of a twentieth of a descriptor, and the defects leave 24 of each.
PILING = Load(connections=8, concurrency=8, dwell=1.0, events=3, cycles=12, seconds=15, sensitivity=0.05)
# For streams that never begin, or a crash that needs threads waiting side by side.
SHARING = Load(connections=16, concurrency=16, dwell=4.0, events=0, cycles=6)
# For profiles that are expected to leak, some of them per connection.
STAYING = Load(connections=8, concurrency=8, dwell=1.0, events=2, cycles=8, seconds=40, sizes=(1, 3, 2))
# The same, where single descriptors are seen a cycle late: more cycles make up for it, and 384 connections retain more
# than any pool of the judge's default size (256) does.
LASTING = replace(STAYING, cycles=24, seconds=90)
# For growth that a broker's timeouts cause: two silent cycles leave 400 descriptors, which end before 1,024 do.
FLAPPING = Load(connections=16, concurrency=16, dwell=1.0, events=2, cycles=5, seconds=25)
# For few objects per event, which only the interpreter's own counters tell from what an allocator keeps.
COUNTED = replace(STAYING, connections=60, concurrency=20, cycles=12, seconds=60, runtime="python")
# Handlers of departed clients continue to tick. At this rate they do not overload the machine.
SLOW_TICKS = {"dashboard_interval": 1.0, "status_interval": 1.0}
# For hundreds of them with a socket for each check: at one tick a second a busy machine runs out of descriptors.
SLOWEST_TICKS = {"dashboard_interval": 4.0, "status_interval": 4.0}
# For profiles that release everything: many cycles, so that the verdict can exclude a small leak.
HOLDING = Load(
    connections=60, concurrency=20, dwell=2.0, events=2, cycles=40, settle=0.5, seconds=40, sensitivity=0.01
)
# Readers that stop reading after a few events, and stay connected for a second longer. What a queue keeps of them are
# few bytes objects, which only the interpreter's own counters tell from what an allocator keeps.
STALLING = replace(STAYING, dwell=4.0, events=4, cycles=20, seconds=60, disconnect="stall", runtime="python")
# Ever more clients at one endpoint, to see how the checks grow with them.
RAMP = Load(
    dwell=4.0,
    events=0,
    cycles=5,
    seconds=45,
    sensitivity=0.05,
    paths=("/dashboard/sse",),
    ramp=(1, 2, 4, 8, 16),
)
# Leaves a few hundred sockets and ends before the descriptors do.
FEW = Load(connections=4, concurrency=4, dwell=1.0, events=2, cycles=6, seconds=15, sensitivity=0.05)
