"""Classes of descriptors that grew and then stopped, beside others that are released late.

A service that notices departures late holds thousands of sockets after each load. Only a wait shows what remains of all
descriptors, and one wait cannot tell a leak from a full cache. A single class can: what remains is usually of another
class than the sockets, and its level after every load shows whether it still grows.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.judge.moment import Moment
from harness.core.metric import Key
from harness.core.units import counted

MIN_STOPPED_SHARE = 1 / 3  # of the answered streams must have come since a class last grew
MIN_EXPECTED = 4.0  # units at a constant rate: none of them has a chance of 2 %
MIN_REST_SHARE = 0.5  # of what remained must be of classes that stopped


def stopped_classes(found: Sequence[Moment], key: Key, first: int, last: int) -> str:
    """In words, the classes of ``key`` that have not grown over the last third of the streams or more, if they are most
    of what remained from moment ``first`` to moment ``last``; else empty.

    At a constant rate a class of which a dozen remained would have grown by four meanwhile."""
    if key.kind:
        return ""
    streams = found[last].answered_since(found[first])
    classes = {
        k for k in found[last].levels if k.metric == key.metric and k.kind and k in found[first].levels
    }
    remained = {k: found[last].levels[k] - found[first].levels[k] for k in classes}
    grown = {k: rest for k, rest in remained.items() if rest >= 1}
    stopped: dict[Key, tuple[float, float]] = {}
    for one, rest in grown.items():
        since = 0.0
        for before, after in zip(found[first:last], found[first + 1 : last + 1], strict=True):
            rose = after.levels.get(one, 0.0) > before.levels.get(one, 0.0)
            since = 0.0 if rose else since + after.answered_since(before)
        if streams > 0 and since >= MIN_STOPPED_SHARE * streams and rest * since / streams >= MIN_EXPECTED:
            stopped[one] = rest, since
    if sum(rest for rest, _ in stopped.values()) < MIN_REST_SHARE * sum(grown.values()) or not stopped:
        return ""
    most = max(stopped, key=lambda k: stopped[k])
    rest, since = stopped[most]
    return f"{rest:,.0f} are {most.kind}, of which the last {counted(since, 'answered stream', ',.0f')} added none"
