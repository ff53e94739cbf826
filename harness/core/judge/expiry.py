"""What expires without a timer: many caches and session stores remove what is too old when the next request arrives.

Without clients such a service holds everything, as with a leak, so a wait ends with a few more requests: what falls
with them was released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge.moment import Moment
from harness.core.metric import Judged, Key
from harness.core.stats.distributions import median

# Units from which on a fall is a release: a smaller one is jitter. MIN_RELEASE_OF has the metrics with noise of their
# own.
MIN_RELEASE = 16.0
MIN_RELEASE_OF = {
    "objects": 200.0,
    "blocks": 200.0,
    "heap-bytes": 1048576.0,
    "external-bytes": 1048576.0,
    "idle-cpu": 0.05,
    "mappings": 64.0,
}
# Requests that release as much as they add make nothing fall. They show in growth that was steady before: in at least
# three loads, each with at least half the usual rate, and of so many units that none is not chance (e⁻⁷).
STEADY_LOADS = 3
STEADY_SHARE = 0.5
MIN_EXPECTED = 7.0
MAX_ADDED_SHARE = 0.2  # of the usual growth, up to which requests added next to nothing
UNSHIFTED = ("time", "reading")  # sums that go on during a request


def without_requests(found: Sequence[Moment]) -> tuple[Moment, ...]:
    """The moments as if the requests during waits had left nothing behind: each is a reading without clients, and what
    its own streams did and added is left out of it and of all later moments. Only what it released remains."""
    changed: list[Moment] = []
    added: dict[Key, float] = {}
    done: dict[str, float] = {}
    expiring: dict[Key, float] = {}
    for index, moment in enumerate(found):
        asked = index > 0 and moment.phase is Phase.RETENTION and moment.peak > 0
        if asked:
            before = found[index - 1]
            expiring.update(_released(found, index))
            streams = _answered(before, moment)
            for key, level in moment.levels.items():
                own = expiring[key] * streams if key in expiring else level - before.levels.get(key, level)
                added[key] = added.get(key, 0.0) + own
            for name, amount in moment.done.items():
                if name not in UNSHIFTED:
                    done[name] = done.get(name, 0.0) + amount - before.done.get(name, 0.0)
            moment = replace(moment, peak=0, began=moment.at, left=moment.at, asked=True)
        if added:
            moment = replace(
                moment,
                levels={
                    key: max(0.0, level - added[key]) if key in added else level
                    for key, level in moment.levels.items()
                },
                done={name: amount - done.get(name, 0.0) for name, amount in moment.done.items()},
            )
        changed.append(moment)
    return tuple(changed)


def _released(found: Sequence[Moment], index: int) -> dict[Key, float]:
    """The keys of which the requests at ``index`` released something, and what each of their streams added: as in the
    steepest of the loads before that had as many."""
    before, now = found[index - 1], found[index]
    streams = _answered(before, now)
    rates: dict[Key, float] = {}
    for key, level in now.levels.items():
        held = before.levels.get(key)
        if held is None or key.judged is not Judged.EXACT:
            continue
        usual = [
            (after.levels[key] - earlier.levels[key]) / _answered(earlier, after)
            for earlier, after in pairwise(found[:index])
            if after.peak
            and after.phase is not Phase.RETENTION
            and _answered(earlier, after) >= max(1.0, streams)
            and key in earlier.levels
            and key in after.levels
        ]
        if held - level >= least_release(key) or _replaced(usual, level - held, streams):
            rates[key] = max([0.0, *usual])
    return rates


def _replaced(usual: Sequence[float], grown: float, streams: float) -> bool:
    """Whether requests added next to nothing although the rates of the loads before predict several units."""
    rate = median(usual) if usual else 0.0
    steady = len(usual) >= STEADY_LOADS and min(usual) >= STEADY_SHARE * rate
    return steady and rate * streams >= MIN_EXPECTED and grown <= MAX_ADDED_SHARE * rate * streams


def least_release(key: Key) -> float:
    """Units from which on a fall of this key is a release."""
    return MIN_RELEASE_OF.get(key.kind if key.kind in MIN_RELEASE_OF else key.metric, MIN_RELEASE)


def _answered(before: Moment, after: Moment) -> float:
    return max(0.0, after.done.get("answered", 0.0) - before.done.get("answered", 0.0))
