"""Which places in the source explain a finding."""

from __future__ import annotations

import math

from harness.core.metric import Key
from harness.core.record import Place, Places
from harness.core.units import counted

ALLOCATED = frozenset({"line", "type", "function"})  # kinds of places that explain memory
MIN_EXPLAINED_SHARE = 0.5  # of a growth in descriptors: those that C code opens have no line
# Kinds of places that explain one metric; any other metric is explained by everything that grew.
PLACE_KINDS = {
    "tasks": frozenset({"task", "greenlet", "goroutine", "resource"}),
    "threads": frozenset({"thread"}),
    "fds": frozenset({"descriptor"}),
}


def where(found: Places | None, key: Key, rate: float = 0.0) -> tuple[str, ...]:
    """The places that explain the metric of a finding; else all that grew, "and N more places", and the notes on
    them. rate: of the finding."""
    if found is None:
        return ()
    texts = tuple(place.text for place in places_of(found, key, rate))
    if _of_metric(found, key, rate):
        return texts
    more = (f"and {counted(found.more, 'more place')}",) if found.more and texts else ()
    return (*texts, *more, *(note.text for note in found.notes))


def places_of(found: Places, key: Key, rate: float = 0.0) -> tuple[Place, ...]:
    """The places that are of this metric, and the containers; else all that may explain it. rate: of the finding."""
    if own := _of_metric(found, key, rate):
        held = [place for place in found.places if place.kind == "container"]
        # A leak of another rate may have grown beside this one. Its places come later, and its container is not named.
        first = [place for place in own if _alike(place.rate, rate)]
        other = [place for place in own if not _alike(place.rate, rate)]
        if first:
            held = [
                p for p in held if _alike(p.rate, rate) or not any(_alike(p.rate, o.rate or 0) for o in other)
            ]
        return (*first, *other, *held)
    # What is allocated explains memory. Processes that grew beside it come from there only if it is the service's own
    # and as much.
    return tuple(
        place
        for place in found.places
        if key.metric != "processes"
        or place.kind not in ALLOCATED
        or (place.own and (place.rate or 0.0) >= MIN_EXPLAINED_SHARE * rate)
    )


def _alike(one: float | None, rate: float) -> bool:
    """Whether two rates are the same to a tenth."""
    return one is not None and rate > 0 and math.isclose(one, rate, rel_tol=0.1)


def _of_metric(found: Places, key: Key, rate: float) -> tuple[Place, ...]:
    """The places that are of this metric. Descriptors explain a finding when those whose lines are known are at least
    half of it."""
    own = tuple(place for place in found.places if place.kind in PLACE_KINDS.get(key.metric, ()))
    if key.metric == "fds" and math.fsum(place.rate or 0.0 for place in own) < MIN_EXPLAINED_SHARE * rate:
        return ()
    return own
