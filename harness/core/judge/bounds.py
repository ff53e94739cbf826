"""The bounds of a verdict: for everything that did not grow, how large a leak could have remained undetected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import CERTIFIED
from harness.core.judge.memory import ARENA, MEMORY
from harness.core.judge.moment import Moment
from harness.core.judge.moments import level_of, split_warmup
from harness.core.judge.one_count import FLOOR
from harness.core.metric import EXACT_MEMORY_KINDS, Judged, Key
from harness.core.stats.distributions import NO_GROWTH, drawdown, poisson_interval
from harness.core.units import counted, six_digits
from harness.core.verdict import Bound

SECONDS_PER_HOUR = 3600.0
MIN_SPAN = 1e-3  # seconds between readings, below which they bound nothing per hour
MIN_POOL = 3.0  # units retained for good from which on a pool is mentioned


def bounds(
    found: Sequence[Moment], results: Mapping[Key, Assessed], *, inside: bool, sensitivity: float = 0.0
) -> list[Bound]:
    """The bounds of everything without a finding, each with the smallest detectable leak. sensitivity: the leak per
    answered stream of which the bounds say how often a pass like this one misses it."""
    made = []
    for key, one in sorted(results.items()):
        if one.status in ("leaking", "suspected") or not math.isfinite(one.at_most):
            continue
        status, text, retained = one.status, one.why, ""
        pool = pooled(found, key)
        if one.status == "bounded" and key.metric != "memory":
            if one.release and released(one):
                status, retained = "retention", one.release.text()
            elif pool:
                status, text, retained = "retention", f"{pool}; {text}", pool
        if key == MEMORY:
            status = one.status
            if inside:
                status, text = "observed", "counted from inside, which decides; " + text
        unit = f"{key.unit}/answered-stream"
        chance = missed(key, one, sensitivity)
        bound = Bound(key.metric, key.kind, status, six_digits(one.at_most), unit, 0.95, text, missed=chance)
        if bound.odds:
            text = f"{text}; a leak of {sensitivity:g} per stream would be missed in {bound.odds}"
        made.append(replace(bound, explanation=text, retained=retained))
        drained = one.idle_evidence.drained if one.idle_evidence and released(one) else None
        if (hourly := per_hour(found, key, drained)) is not None:
            read = _over_time(found, key, drained)
            what = f"growth over time, seen for {read[-1][0] - read[0][0]:.0f} s"
            # Only the bound per stream names the time of the release.
            if released(one):
                status = "bounded"
            made.append(
                Bound(key.metric, key.kind, status, six_digits(hourly), f"{key.unit}/hour", 0.95, what)
            )
    return made


def missed(key: Key, one: Assessed, sensitivity: float) -> float | None:
    """Probability that a leak of the asked size adds nothing in all the streams of a pass (Poisson): 5 % after
    3 ÷ sensitivity streams, one in 665 after 6.5 ÷ sensitivity. None unless an exact count passed without growth."""
    if one.status != "bounded" or key.metric not in CERTIFIED or one.total > 0 or sensitivity <= 0:
        return None
    return six_digits(math.exp(-NO_GROWTH * sensitivity / one.at_most))


def released(one: Assessed) -> bool:
    """Whether something was released late, and completely."""
    return one.idle_evidence is not None and one.release is not None and one.release.over


def per_hour(found: Sequence[Moment], key: Key, drained: Sequence[int] | None = None) -> float | None:
    """The largest growth per hour that could have remained undetected (95 %).

    For an exact count it is the upper end of the Poisson interval; for memory it is the measured growth plus one arena
    of the allocator, or the noise of a counter inside the service. None without two readings.

    drained: moments at which everything that is released late had been released: what departed clients leave behind for
    a while is not growth over time.
    """
    read = _over_time(found, key, drained)
    if len(read) < 2 or read[-1][0] - read[0][0] < MIN_SPAN:
        return None
    levels = [level for _, level in read]
    grown = max(0.0, levels[-1] - levels[0])
    hours = (read[-1][0] - read[0][0]) / SECONDS_PER_HOUR
    if key.judged is Judged.EXACT and key.unit != "B":
        return poisson_interval(grown, hours)[2] if grown else NO_GROWTH / hours
    # The largest fall shows by how much the readings of a counter scatter.
    if key.kind in EXACT_MEMORY_KINDS:
        return (grown + max(FLOOR.get(key.kind, 1.0), drawdown(levels))) / hours
    step = ARENA if key.unit == "B" else FLOOR.get(key.metric, 1.0)
    return (grown + step) / hours


def _over_time(found: Sequence[Moment], key: Key, drained: Sequence[int] | None) -> list[tuple[float, float]]:
    """Seconds and levels of the readings that bound growth over time. An exact count that did not grow is followed back
    into the warm-up, to the last moment at which it was lower."""
    warm, rest = split_warmup(found)
    if drained is not None and len(drained) > 1 and drained[-1] < len(found):
        rest = [found[index] for index in drained]
    read = [(moment.at, level) for moment in rest if (level := level_of(moment, key)) is not None]
    if not read or drained is not None or key.judged is not Judged.EXACT or key.unit == "B":
        return read
    if read[-1][1] > read[0][1]:
        return read
    for moment in reversed(warm[:-1]):
        level = level_of(moment, key)
        if level is None or level < read[-1][1]:
            break
        read.insert(0, (moment.at, level))
    return read


def seconds_seen(found: Sequence[Moment]) -> float:
    """Seconds that the judged moments span."""
    _, rest = split_warmup(found)
    return rest[-1].at - rest[0].at if rest else 0.0


def pooled(found: Sequence[Moment], key: Key) -> str:
    """ "grew by 64 during the first 3 cycles and stopped: a pool"; empty when nothing stayed."""
    levels = [moment.levels.get(key, 0.0) for moment in found if moment.peak]
    if len(levels) < 3:
        return ""
    last = max((i for i, level in enumerate(levels) if level > max(levels[:i], default=-math.inf)), default=0)
    grown = levels[last] - levels[0]
    stays = min(levels[last:]) - levels[0]
    if last == 0 or stays < MIN_POOL or last == len(levels) - 1:
        return ""
    return f"grew by {grown:g} during the first {counted(last + 1, 'cycle')} and stopped: a pool or a cache"
