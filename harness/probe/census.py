"""The census: everything a tree holds, classified, at a quiescent moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import nlargest
from operator import itemgetter

from harness.core.sample import Census
from harness.probe.births import descendants
from harness.probe.descriptors import Tally, descriptors
from harness.probe.hot import PROCESS_EXITED, HotProcess, HotReading
from harness.probe.memory import mappings, memory
from harness.probe.threads import threads
from harness.probe.tree import EXITED

MAX_LISTED = 1000  # processes whose number of descriptors is listed separately


def census(
    pid: int, *, at: float, known: Mapping[int, int] | None = None, newest: int | None = None
) -> Census:
    """Classify everything the tree of ``pid`` holds. What may not be read is named in ``unreadable``, and is not
    counted as zero.

    known: pid → start time of processes that belong to the tree, also those whose parents have exited
    (``Tree.processes``). newest: ``Tree.newest``; avoids a scan of all processes of the machine. The
    cost is 3 to 4 µs per descriptor.
    """
    processes: list[HotProcess] = []
    try:
        _open(pid, known or {}, newest, processes)
        return _take(pid, at, processes)
    finally:
        for process in processes:
            process.close()


def _open(pid: int, known: Mapping[int, int], newest: int | None, processes: list[HotProcess]) -> None:
    # The known processes are needed as well: a process whose parent has exited is no longer a descendant.
    for each in dict.fromkeys([*descendants(pid, known, newest), *known]):
        try:
            process = HotProcess(each)
        except OSError:
            continue
        reading = process.read()
        if reading is None or (each in known and reading.started != known[each]):
            process.close()  # it has exited, or its number was reused
            continue
        processes.append(process)


def _take(pid: int, at: float, processes: list[HotProcess]) -> Census:
    # Read once more: opening all processes took a while, in which some may have exited.
    readings = [(process, process.read()) for process in processes]
    # A zombie holds nothing any more but its entry in the table of processes.
    alive = [process for process, reading in readings if reading and not reading.zombie]
    if not any(process.pid == pid for process in alive):
        return Census(at=at, unreadable=(f"fds and all else of pid {pid}: {EXITED}",))
    unreadable: list[str] = []
    fds, states = descriptors(alive, unreadable)
    mapped, named = Tally(), Tally()
    sizes: Counter[str] = Counter()
    switches = 0
    for process in alive:
        try:
            mappings(process, mapped)
        # It exited during the census, so it holds nothing: that is no missing part.
        except PROCESS_EXITED:
            continue
        except OSError as error:
            unreadable.append(f"mappings of pid {process.pid}: {error.strerror}")
        memory(process, sizes, unreadable)
        switches += threads(process, named)
    # Each reason begins with the name of what could not be read, as in "fds of pid 12: Permission denied".
    missing = {reason.split(" ", 1)[0] for reason in unreadable}
    # A sum with a missing part would look like a fall.
    if "memory" in missing:
        sizes.clear()
    if "uss" in missing:
        sizes.pop("uss", None)
    zombies = [(process, reading) for process, reading in readings if reading and reading.zombie]
    return Census(
        at=at,
        fds={} if "fds" in missing else dict(fds.counts),
        sockets=dict(states),
        threads=dict(named.counts),
        mappings={} if "mappings" in missing else dict(mapped.counts),
        memory=dict(sizes),
        processes=len(alive),
        zombies=len(zombies),
        cpu=sum(reading.cpu for _, reading in readings if reading),
        examples=_examples(fds, mapped, named, [f"{p.pid} ({r.name})" for p, r in zombies]),
        unreadable=tuple(unreadable),
        switches=switches,
        per_process=_counts([reading for _, reading in readings if reading and not reading.zombie]),
    )


def _counts(readings: list[HotReading]) -> dict[str, int]:
    """pid → descriptors, in a very large tree only the processes with most. Empty if one could not be read, because
    it may have most of all."""
    known = {str(reading.pid): reading.fds for reading in readings if reading.fds is not None}
    if len(known) < len(readings):
        return {}
    return dict(nlargest(MAX_LISTED, known.items(), key=itemgetter(1)))


def _examples(fds: Tally, mapped: Tally, named: Tally, zombies: list[str]) -> dict[str, tuple[str, ...]]:
    """Examples by class for descriptors, by ``metric/kind`` for all else."""
    found = {kind: tuple(kept) for kind, kept in fds.examples.items()}
    found.update((f"mappings/{kind}", tuple(kept)) for kind, kept in mapped.examples.items())
    found.update((f"threads/{kind}", tuple(kept)) for kind, kept in named.examples.items())
    if zombies:
        found["processes/zombie"] = tuple(zombies[-3:])
    return found
