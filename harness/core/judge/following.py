"""Judges memory beside a cause that was released completely: only memory that did not fall with the cause counts.

The memory of a session is released with its socket. A level of memory includes more: the warm-up by the first clients,
and the remains of a search for the place in the source. So if descriptors, threads or tasks were released
completely and memory fell in step with them, each level is compared with that of the cause at the same moment, from
the warm-up on. What remains is growth that the release does not explain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.bounded_growth import NEARLY_ALL
from harness.core.judge.certain_growth import MAX_UNEXPLAINED
from harness.core.judge.memory import MEMORY
from harness.core.judge.moment import Moment
from harness.core.judge.moments import level_of, split_warmup
from harness.core.judge.retention import MAX_WARM_UP_SHARE
from harness.core.judge.tested_series import EXPECTED_IF_CONTINUING
from harness.core.metric import EXACT_MEMORY_KINDS, FIRST_CONSEQUENCE_RANK, Key, rank
from harness.core.stats.distributions import median
from harness.core.units import counted

THREAD_KEYS = (Key("tasks", "java-thread"), Key("threads"))
# Units that one thread of a pool retains at most, by counter: 24 objects were measured in a JVM.
PER_THREAD = {"objects": 64.0, "blocks": 64.0, "heap-bytes": 65_536.0, "external-bytes": 65_536.0}
# The same at most where more streams are needed to show it: Tomcat's threads came with 490 objects and 135 kB each.
MOST_PER_THREAD = {"objects": 1024.0, "blocks": 1024.0, "heap-bytes": 262_144.0, "external-bytes": 262_144.0}
# Share of the usual rate that cycles without a new thread have where the streams explain the growth, and their number.
MIN_APART_SHARE = 0.5
MIN_APART_CYCLES = 3
# Units that one descriptor of a pool retains at most: a file of Go has four objects, a Java stream six.
PER_DESCRIPTOR = {"objects": 8.0, "blocks": 8.0, "heap-bytes": 2048.0}
# The states of threads whose objects and stacks are no leak either.
NO_LEAK_YET = ("undecided", "bounded", "suspected")
PROCESSES = Key("processes")
ONE_WAIT = 2  # moments at which all was released: before the first client, and after one wait
# Share by which processes of one kind may differ in their mappings.
MAX_PROCESS_SPREAD = 0.25
# Mappings of one thread at most: its stack, a guard page, and now and then an arena of malloc.
MAPPINGS_PER_THREAD = 3.0
# Bytes per stream by which healthy services climb while they warm up (docs/detector.md).
WARM_UP_BYTES = 4096.0


def followed(
    found: Sequence[Moment], results: Mapping[Key, Assessed], floors: Mapping[str, float]
) -> dict[Key, Assessed]:
    """The results. Memory that was released together with a cause is bounded. floors: the noise of a reading, by
    kind."""
    leader = _leader(results)
    if leader is None:
        return dict(results)
    return {
        key: _following(found, key, one, leader, results[leader], floors.get(key.kind, 1.0))
        if key.kind in EXACT_MEMORY_KINDS and _open(one)
        else one
        for key, one in results.items()
    }


def held_for_departed(found: Sequence[Moment], memory: Assessed, results: Mapping[Key, Assessed]) -> Assessed:
    """Anonymous memory that is neither leaking nor bounded, without the growth that accompanies descriptors, threads or
    tasks that are released late. It counts by how much it rose between the moments at which those had been released."""
    late = [
        (one.idle_evidence.fallen, key)
        for key, one in results.items()
        if one.release and one.idle_evidence and rank(key) < FIRST_CONSEQUENCE_RANK and key.metric != "memory"
    ]
    if memory.status != "undecided" or not memory.growing or memory.factor == "time" or not late:
        return memory
    leader = max(late)[1]
    evidence = results[leader].idle_evidence
    drained = [found[index] for index in evidence.drained] if evidence else []
    read = [(level, at.done) for at in drained if (level := level_of(at, MEMORY)) is not None]
    if len(read) < 2:
        return memory
    left = read[-1][0] - read[0][0]
    streams = read[-1][1].get("answered", 0.0) - read[0][1].get("answered", 0.0)
    if left > min(memory.total / 2, WARM_UP_BYTES * streams):
        return memory
    why = f"grew with {leader}, which is released late; {max(0.0, left) / 1e6:.3g} MB were left after that"
    return replace(memory, why=f"{why}: {memory.why}", growing=False)


def _in_step(fell: Sequence[tuple[int, float, float]], each: float, rest: float, most: float) -> bool:
    """Whether memory fell with the cause. Counting a heap takes a second or two, so the level of the cause at that
    time may be that of a neighbouring reading."""
    for position, (_, mine, _) in enumerate(fell):
        # The neighbouring readings bound the level that the cause can have had while the heap was counted.
        near = [theirs for _, _, theirs in fell[max(0, position - 1) : position + 2]]
        if not rest + each * min(near) - most <= mine <= rest + each * max(near) + most:
            return False
    return True


def _open(one: Assessed) -> bool:
    return one.status == "undecided" and one.release is not None


def _leader(results: Mapping[Key, Assessed]) -> Key | None:
    """The cause that was released completely; the largest one, if there are several."""
    released = [
        (one.idle_evidence.fallen, key)
        for key, one in results.items()
        if one.status == "bounded" and one.idle_evidence and one.release and one.release.over
        and rank(key) < FIRST_CONSEQUENCE_RANK and key.kind not in EXACT_MEMORY_KINDS
    ]  # fmt: skip
    return max(released)[1] if released else None


def _following(
    found: Sequence[Moment], key: Key, one: Assessed, leader: Key, lead: Assessed, floor: float
) -> Assessed:
    assert lead.idle_evidence
    assert one.idle_evidence
    assert one.release
    end = lead.idle_evidence.drained[-1]
    start = next((index for index in range(end, -1, -1) if found[index].peak), None)
    if start is None:
        return one
    read = [
        (index, mine, theirs)
        for index, moment in enumerate(found)
        if (mine := level_of(moment, key)) is not None and (theirs := level_of(moment, leader)) is not None
    ]
    fell = [row for row in read if start <= row[0] <= end]
    if len(fell) < 2:
        return one
    (_, high, most), (_, low, least) = fell[0], fell[-1]
    if most <= least or high - low <= floor:
        return one
    # Memory per unit of the cause, taken from the release alone: its growth under load also contains the warm-up.
    each = (high - low) / (most - least)
    kept = [(index, mine - each * theirs) for index, mine, theirs in read]
    at_end = fell[-1][1] - each * fell[-1][2]
    if not _in_step(fell, each, at_end, MAX_UNEXPLAINED * (high - low)):
        return one
    served = [position for position, (index, _) in enumerate(kept) if found[index].peak]
    warm = [position for position in served if found[kept[position][0]].phase is Phase.WARMUP]
    first = (warm or served[:1])[-1]
    left = streams = 0.0
    for (before, level), (after, later) in pairwise(kept[first:]):
        # A search for the place in between takes memory of its own.
        if found[before].searches == found[after].searches:
            left += later - level
            streams += found[after].done.get("answered", 0.0) - found[before].done.get("answered", 0.0)
    if streams <= 0 or left > max(floor, MAX_WARM_UP_SHARE * one.idle_evidence.fallen):
        return one
    why = (
        f"{one.release.text()}, in step with {leader}; nothing else was left of "
        f"{counted(streams, 'answered stream', ',.0f')}"
    )
    # The rule of three (95 %) for units of the cause, with what is left counted as if all of it had leaked.
    at_most = (3.0 * max(1.0, each) + max(0.0, left)) / streams
    assert math.isfinite(at_most)
    return replace(
        one, status="bounded", at_most=at_most, why=why, total=max(0.0, left), exposure=streams, growing=False
    )


def only_follows(key: Key, results: Mapping[Key, Assessed]) -> bool:
    """Whether growth that is only suspected is a consequence, while a cause that grows is still undecided: an
    allocator's mappings follow the objects, of which a cache may hold as many."""
    causes = any(
        one.status == "undecided" and one.growing and rank(other) < FIRST_CONSEQUENCE_RANK
        for other, one in results.items()
    )
    return causes and results[key].status == "suspected" and rank(key) >= FIRST_CONSEQUENCE_RANK


def without_brought_mappings(results: Mapping[Key, Assessed], found: Sequence[Moment]) -> dict[Key, Assessed]:
    """The results, with mappings left undecided that grew with an undecided metric: a worker process that a pool keeps
    brings all of its mappings, a pool of threads that fills brings a stack and a guard page with each, and a cache that
    may still fill needs room in the heap."""
    mappings = results.get(Key("mappings"))
    if not mappings or mappings.status not in ("leaking", "suspected"):
        return dict(results)
    of = _brought_by(results, mappings, found)
    if not of:
        return dict(results)
    why = f"{mappings.why}; {of}"
    return {**results, Key("mappings"): replace(mappings, status="undecided", growing=False, why=why)}


def without_descriptors_of_workers(
    results: Mapping[Key, Assessed], found: Sequence[Moment]
) -> dict[Key, Assessed]:
    """The results, with descriptors and threads left undecided of which one wait showed what remains, while more worker
    processes remain than there were before the first client. A pool of workers shrinks to its spare ones, and each has
    pipes of its own, and often those of its siblings: 13 workers of a Perl server had 602 descriptors where 5 had had
    44, and the same 13 still had about as many after 10,000 streams more. A second wait shows that."""
    came = _processes_that_came(found)
    workers = results.get(PROCESSES)
    if came <= 0 or workers is None or workers.status not in NO_LEAK_YET:
        return dict(results)
    of = f"with {counted(came, 'more process', 'g')} than before the first client"
    return {
        key: replace(one, status="undecided", growing=True, why=f"{one.why}; {of}")
        if key.metric in ("fds", "threads")
        and one.status in ("leaking", "suspected")
        and one.idle_evidence
        and one.release
        and len(one.idle_evidence.drained) <= ONE_WAIT
        else one
        for key, one in results.items()
    }


def _brought_by(results: Mapping[Key, Assessed], mappings: Assessed, found: Sequence[Moment]) -> str:
    """What the mappings that grew are for, if that is no leak yet; else empty."""
    workers, threads = results.get(PROCESSES), results.get(Key("threads"))
    came = _processes_that_came(found)
    most = (1.0 + MAX_PROCESS_SPREAD) * _mappings_per_process(found) * came
    if workers and workers.status in NO_LEAK_YET and mappings.total <= most:
        return f"those of the {counted(came, 'process', 'g')} that came"
    # The C library keeps the stacks of threads that ended for the next ones: 40 MB of them, which are 640 of 64 kB.
    stacks = max(threads.total, _threads_at_most(found)) if threads else 0.0
    if threads and threads.status in NO_LEAK_YET and mappings.total <= MAPPINGS_PER_THREAD * stacks:
        return f"stacks of the {counted(stacks, 'thread', 'g')} that came"
    if any(one.cache and one.status == "undecided" for one in results.values()):
        return "room for what a cache may hold"
    # An allocator does not unmap what is freed late, so mappings cannot be certain before what they are mapped for.
    if any(key.kind in EXACT_MEMORY_KINDS and one.status == "suspected" for key, one in results.items()):
        return "room for what may still be released"
    return ""


def _threads_at_most(found: Sequence[Moment]) -> float:
    """By how much the number of threads had grown at most since before the first client."""
    levels = [level for moment in found if (level := level_of(moment, Key("threads"))) is not None]
    return max(levels) - levels[0] if levels else 0.0


def _processes_that_came(found: Sequence[Moment]) -> float:
    """By how much the number of processes has grown since before the first client."""
    levels = [level for moment in found if (level := level_of(moment, PROCESSES)) is not None]
    return levels[-1] - levels[0] if levels else 0.0


def _mappings_per_process(found: Sequence[Moment]) -> float:
    """The mappings of one process of those that come and go: the median of what a change of their number added or
    removed for each. 0 if their number never changed."""
    read = [
        (level_of(moment, PROCESSES), level_of(moment, Key("mappings")))
        for moment in found
        if moment.phase is not Phase.SEARCH
    ]
    known = [(many, mapped) for many, mapped in read if many is not None and mapped is not None]
    each = [
        (mapped - mapped_before) / (many - before)
        for (before, mapped_before), (many, mapped) in pairwise(known)
        if many != before
    ]
    return max(0.0, median(each)) if each else 0.0


def without_pooled_objects(results: Mapping[Key, Assessed]) -> dict[Key, Assessed]:
    """The results, with counters inside the service left open whose growth the descriptors of a pool could hold. More
    streams show which of the two it is: a pool is full, a leak goes on. Without this rule a healthy Go server whose
    pool of files filled up was judged leaking on a busy machine."""
    pool = results.get(Key("fds"))
    if pool is None or pool.status not in ("bounded", "undecided") or pool.total <= 0:
        return dict(results)

    def of(key: Key, one: Assessed) -> Assessed:
        most = PER_DESCRIPTOR.get(key.kind, 0.0) * pool.total
        certain = key.metric == "memory" and one.status in ("leaking", "suspected") and one.factor != "time"
        if not certain or one.total > most:
            return one
        why = f"{one.why}; the {counted(pool.total, 'descriptor', ',.0f')} of a pool could hold that"
        return replace(one, status="undecided", growing=True, why=why)

    return {key: of(key, one) for key, one in results.items()}


def without_brought_objects(results: Mapping[Key, Assessed], found: Sequence[Moment]) -> dict[Key, Assessed]:
    """The results, with counters inside the service left undecided whose growth came with the threads of a pool that
    may still fill: each brings objects of its own, 24 in a JVM. Without this rule a healthy Java server on a busy
    machine was judged leaking, once while its threads were only suspected. A framework keeps far more for each thread:
    growth of that size gets more streams, which show whether it ends with the threads."""
    key = max((k for k in THREAD_KEYS if k in results), key=lambda k: results[k].total, default=None)
    if key is None or results[key].status not in NO_LEAK_YET or results[key].total <= 0:
        return dict(results)
    threads = results[key].total
    _, rest = split_warmup(found)

    def of(counter: Key, one: Assessed) -> Assessed:
        few = one.total <= PER_THREAD.get(counter.kind, 0.0) * threads
        many = one.total <= MOST_PER_THREAD.get(counter.kind, 0.0) * threads
        certain = counter.metric == "memory" and one.status in ("leaking", "suspected")
        # If each stream added the same, the streams explain the growth, however many threads came.
        if not certain or one.constant or not (few or many):
            return one
        read = [
            (level, amount, moment.done.get("answered", 0.0))
            for moment in rest
            if (level := level_of(moment, key)) is not None
            and (amount := level_of(moment, counter)) is not None
        ]
        together = alone = 0.0
        apart: list[tuple[float, float]] = []
        for (before, amount_before, served_before), (level, amount, served) in pairwise(read):
            if level > before:
                together += amount - amount_before
            else:
                alone += served - served_before
                apart.append((amount - amount_before, served - served_before))
        if _grows_apart(apart, one):
            return one
        # What the last cycles show by themselves is less than the whole growth.
        if not read or together < NEARLY_ALL * max(one.total, read[-1][1] - read[0][1]):
            return one
        why = f"{one.why}; those of the {counted(threads, 'thread', 'g')} that came"
        # Only streams that brought no thread show that streams leave nothing by themselves.
        shown = few and alone * one.total >= EXPECTED_IF_CONTINUING * one.exposure
        return replace(one, status="undecided", growing=not shown, why=why)

    return {counter: of(counter, one) for counter, one in results.items()}


def _grows_apart(apart: Sequence[tuple[float, float]], one: Assessed) -> bool:
    """Whether the cycles that brought no thread, of which these are the growth and the streams, added about as much per
    stream as all: then the streams explain the growth, although threads came with most of them. A Java server kept 30
    objects for each of 25,521 streams, and its thread pool had taken 2,608 threads."""
    acted = [(grown, streams) for grown, streams in apart if streams > 0]
    rate = one.total / one.exposure if one.exposure > 0 else math.inf
    expected = rate * math.fsum(streams for _, streams in acted)
    steady = sum(1 for grown, streams in acted if grown >= MIN_APART_SHARE * rate * streams)
    enough = math.fsum(grown for grown, _ in acted) >= MIN_APART_SHARE * expected
    return steady >= MIN_APART_CYCLES and enough
