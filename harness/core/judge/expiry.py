"""What expires without a timer: many caches and session stores remove what is too old when the next request arrives.

Without clients such a service holds everything, as with a leak, so a wait ends with a few more requests: what falls
with them was released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.core.cycle import Phase
from harness.core.judge.moment import Moment
from harness.core.judge.retention import MARGIN
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


def without_requests(found: Sequence[Moment], retention: float) -> tuple[Moment, ...]:
    """The moments as if the requests during waits had left nothing behind: each is a reading without clients, and what
    its own streams did and added is left out of it and of all later moments. Only what it released remains.

    Later requests may also release what earlier ones had added, which is then left out although it is gone, and a load
    may have been steeper than they are. ``Moment.unsure`` says how much that can be: the true level lies between the
    given one and as much above it.
    """
    changed: list[Moment] = []
    done: dict[str, float] = {}
    own: dict[Key, _Own] = {}
    for index, moment in enumerate(found):
        if asked := index > 0 and moment.phase is Phase.RETENTION and moment.peak > 0:
            before = found[index - 1]
            released = _released(found, index)
            streams, idle = moment.answered_since(before), _idle(found, index)
            for key, level in moment.levels.items():
                kept = own.setdefault(key, _Own())
                kept.rates = released.get(key, kept.rates)
                kept.ask(level - before.levels.get(key, level), streams, idle, retention)
            for name, amount in moment.done.items():
                if name not in UNSHIFTED:
                    done[name] = done.get(name, 0.0) + amount - before.done.get(name, 0.0)
        elif moment.peak and _whole_wait_follows(found, index, retention):
            # That wait releases or keeps what earlier requests left, like everything of this load.
            own.clear()
            done.clear()
        elif moment.peak:
            for kept in own.values():
                kept.idle = 0.0
        elif own:
            for key, level in moment.levels.items():
                if key in own and (fall := found[index - 1].levels.get(key, level) - level) > 0:
                    own[key].release(fall, retention)
        if own:
            moment = _without(moment, own, done, asked)
        changed.append(moment)
    return tuple(changed)


@dataclass(slots=True)
class _Own:
    """What the streams of requests have added to one key. unsure: of that, what a later request may have released, or
    what was never added. rates: units a stream in the steepest load and in the second, once the key has expired.
    idle: seconds since the last load at the last request."""

    added: float = 0.0
    unsure: float = 0.0
    rates: tuple[float, float] | None = None
    idle: float = 0.0

    def release(self, amount: float, retention: float) -> None:
        """So much was released that requests may have added."""
        if self.idle >= retention + MARGIN:
            # Whatever the loads had left was older than that at the last request, so this was of requests.
            amount = min(self.added, amount)
            self.added, self.unsure = self.added - amount, max(0.0, self.unsure - amount)
        else:
            self.unsure = min(self.added, self.unsure + amount)

    def ask(self, grown: float, streams: float, idle: float, retention: float) -> None:
        """So many streams of requests were answered, and the level grew by ``grown`` in all."""
        steepest, second = self.rates or (grown / streams if streams else 0.0,) * 2
        own = steepest * streams
        released = own - grown
        # More than the earlier requests had added: then streams of the loads were released, which had not been old
        # enough at the request before. The streams of that request are younger still.
        if self.idle >= retention + MARGIN or released <= self.added or idle - self.idle >= self.idle:
            self.release(max(0.0, released), retention)
        self.added += own
        self.unsure += own - second * streams
        self.idle = idle


def _whole_wait_follows(found: Sequence[Moment], index: int, retention: float) -> bool:
    """Whether the service was left alone for the retention time after the load at ``index``, but for requests."""
    until = next(
        (n for n in range(index + 1, len(found)) if found[n].peak and found[n].phase is not Phase.RETENTION),
        len(found),
    )
    return found[until - 1].at - found[index].left >= retention + MARGIN


def _idle(found: Sequence[Moment], index: int) -> float:
    """Seconds from the last load to the beginning of the requests at ``index``. They release what is old enough then;
    the reading follows seconds later."""
    left = max(
        (one.left for one in found[:index] if one.peak and one.phase is not Phase.RETENTION), default=0.0
    )
    return found[index].began - left


def _without(moment: Moment, own: Mapping[Key, _Own], done: Mapping[str, float], asked: bool) -> Moment:
    """The moment without what requests have added and done."""
    levels = {
        key: max(0.0, level - own[key].added) if key in own else level for key, level in moment.levels.items()
    }
    did = {name: amount - done.get(name, 0.0) for name, amount in moment.done.items()}
    # The true level is at most the one that was read.
    unsure = {
        key: min(one.unsure, moment.levels[key] - levels[key])
        for key, one in own.items()
        if one.unsure > 0 and key in levels
    }
    moment = replace(moment, levels=levels, done=did, unsure=unsure)
    return replace(moment, peak=0, began=moment.at, left=moment.at, asked=True) if asked else moment


def _released(found: Sequence[Moment], index: int) -> dict[Key, tuple[float, float]]:
    """The keys of which the requests at ``index`` released something, and what each of their streams added: as in the
    steepest and in the second of the loads before that had as many."""
    before, now = found[index - 1], found[index]
    streams = now.answered_since(before)
    rates: dict[Key, tuple[float, float]] = {}
    for key, level in now.levels.items():
        held = before.levels.get(key)
        if held is None or key.judged is not Judged.EXACT:
            continue
        usual = [
            (after.levels[key] - earlier.levels[key]) / after.answered_since(earlier)
            for earlier, after in pairwise(found[:index])
            if after.peak
            and after.phase is not Phase.RETENTION
            and after.answered_since(earlier) >= max(1.0, streams)
            and key in earlier.levels
            and key in after.levels
        ]
        if held - level >= least_release(key) or _replaced(usual, level - held, streams):
            # A load that is longer than the life of an entry adds less, so the steep ones show what a stream adds.
            first, second = sorted([0.0, 0.0, *usual])[-1:-3:-1]
            rates[key] = (first, second if len(usual) > 1 else first)
    return rates


def _replaced(usual: Sequence[float], grown: float, streams: float) -> bool:
    """Whether requests added next to nothing although the rates of the loads before predict several units."""
    rate = median(usual) if usual else 0.0
    steady = len(usual) >= STEADY_LOADS and min(usual) >= STEADY_SHARE * rate
    return steady and rate * streams >= MIN_EXPECTED and grown <= MAX_ADDED_SHARE * rate * streams


def least_release(key: Key) -> float:
    """Units from which on a fall of this key is a release."""
    return MIN_RELEASE_OF.get(key.kind if key.kind in MIN_RELEASE_OF else key.metric, MIN_RELEASE)
