"""One proof for every runtime: a clean server reads the same after every cycle, a leaky one grows by what leaks."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.core.metric import Key
from harness.process.child import Child
from harness.runtime.counters import Counters, Growth, RuntimeReader
from tests.edges.servers.clients import load, wait_for

SERVERS = Path(__file__).parent
CONNECTIONS = 300
CYCLES = 3
WARMUPS = 10  # cycles at most for caches to fill
STEADY = 0.02  # change per connection below which a cache has filled


@contextmanager
def server(
    argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Child, int]]:
    """A server that prints its port as its first line."""
    # A second server in the folder has a log of its own: the port of the first would be taken for its port.
    log = folder / f"server-{len(list(folder.glob('server-*.log')))}.log"
    with Child.spawn(argv, log=log, name="server", env=env or dict(os.environ)) as child:
        wait_for(lambda: not child.alive or any(line.isdigit() for line in child.tail()), "the server's port")
        assert child.alive, child.tail()
        yield child, next(int(line) for line in child.tail() if line.isdigit())


def settled_counters(reader: RuntimeReader, noise: Mapping[Key, float]) -> Counters:
    """Read until two readings agree: a server is busy for a moment after its last client has disconnected."""
    last: list[Counters] = []

    def same() -> bool:
        last.append(reader.read())
        return len(last) > 1 and all(
            abs(last[-1][key] - last[-2][key]) <= noise.get(key, 0.0)
            for key in last[-1].levels
            if key in noise
        )

    wait_for(same, "two readings that agree")
    return last[-1]


def rates(
    reader: RuntimeReader,
    cycle: Callable[[], int],
    noise: Mapping[Key, float],
    *,
    warmups: int = 1,
    typical: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[Key, float]:
    """Growth per connection of each key of ``noise`` after the warm-up: one cycle, and up to ``warmups`` while caches
    still fill, as the plan of a trial does it.

    Each rate is the ``typical`` one of CYCLES cycles that are read one by one. For a leak, whose rate is compared,
    this is the median: the JVM was seen to add 80 objects of its own in one of three cycles.
    """
    cycle()
    before = settled_counters(reader, noise)
    steady = 0
    for _ in range(warmups - 1):
        connections = cycle()
        last, before = before, settled_counters(reader, noise)
        still = all(abs(before[key] - last[key]) <= STEADY * connections for key in noise)
        steady = steady + 1 if still else 0
        if steady == 2:  # one steady cycle may lie between two steps of a cache
            break
    found: dict[Key, list[float]] = {key: [] for key in noise}
    for _ in range(CYCLES):
        connections = cycle()
        last, before = before, settled_counters(reader, noise)
        for key in noise:
            found[key].append((before[key] - last[key]) / connections)
    return {key: typical(values) for key, values in found.items()}


def clean_rates(
    reader: RuntimeReader,
    cycle: Callable[[], int],
    noise: Mapping[Key, float],
    most: float,
    *,
    late_step: bool = False,
) -> dict[Key, float]:
    """Rates of a server that must be clean.

    late_step: measure once more where a rate exceeds ``most``. V8 needs this, whose compiler adds the same 46 objects
    once, in a cycle after the warm-up, and HotSpot, which was seen to add 80. A leak continues in the second
    measurement.
    """
    found = rates(reader, cycle, noise, warmups=WARMUPS, typical=statistics.fmean)
    if late_step and any(abs(rate) > most for rate in found.values()):
        found = rates(reader, cycle, noise, warmups=WARMUPS, typical=statistics.fmean)
    return found


def cycle_of(port: int, path: str, connections: int = CONNECTIONS) -> Callable[[], int]:
    """One load cycle as the experiment would run it."""

    def cycle() -> int:
        load(port, path, connections)
        return connections

    return cycle


def places(growths: Sequence[Growth]) -> list[str]:
    """Where, without the folder."""
    return [growth.site.rpartition("/")[2] if "/" in growth.site else growth.site for growth in growths]
