"""The classes of a total: which of them a finding reports, and the one cause that explains all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.core.judge.assessed import Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import split_warmup
from harness.core.judge.recipe import Recipe, explain
from harness.core.metric import Key

FDS = Key("fds")
DEPARTED = (Key("fds", "close-wait"), Key("fds", "rowless-socket"), Key("fds", "mptcp"))
MAX_EXACT_WIDTH = 0.05  # width of an interval as a share of its rate, up to which a rate is exact
MIN_CLASS_SHARE = 0.99  # of the growth of a total that one class must have to stand for it


def reported_keys(leaking: Mapping[Key, Assessed]) -> list[Key]:
    """The keys to report: kinds rather than their total, unless only the total has an exact rate and no single kind
    makes it up. Sockets pass from one state to another, so each class may grow unevenly while their total grows by
    exactly one per stream. Sockets of clients whose departure is not noticed are of two classes, by how they left."""
    shown = []
    for metric in {key.metric for key in leaking}:
        total = leaking.get(Key(metric))
        kinds = [key for key in leaking if key.metric == metric and key.kind]
        # A total is certain a little earlier than a class whose last sockets changed their state.
        if total and total.status == "leaking":
            kinds = [key for key in kinds if leaking[key].status == "leaking"]
        of_kinds = [leaking[key] for key in kinds]
        alone = max((one.total for one in of_kinds), default=0.0)
        exact = total and _width(total) <= MAX_EXACT_WIDTH and alone < MIN_CLASS_SHARE * total.total
        of_total = not kinds or (exact and min(map(_width, of_kinds)) > MAX_EXACT_WIDTH)
        shown += [Key(metric)] if of_total or _departed(leaking, total, kinds) else kinds
    return shown


def _departed(leaking: Mapping[Key, Assessed], total: Assessed | None, kinds: Sequence[Key]) -> bool:
    """Whether a certain total is made up of sockets of clients that have left, both of those that closed and of those
    that reset: 0.4 and 0.6 per stream are one socket of each."""
    departed = [leaking[key] for key in DEPARTED if key in kinds]
    if total is None or total.status != "leaking" or len(departed) < 2:
        return False
    rate = sum(one.rate for one in departed if one.factor == total.factor)
    return math.isclose(rate, total.rate, rel_tol=MAX_EXACT_WIDTH)


def _width(one: Assessed) -> float:
    """The width of the interval of a rate, as a share of the rate."""
    return (one.high - one.low) / one.rate if one.rate > 0 else math.inf


def largest_class(leaking: Mapping[Key, Assessed], total: Key) -> Key:
    """The class that grew most of those of a total; the total itself where it has none."""
    kinds = [key for key in leaking if key.metric == total.metric and key.kind]
    return max(kinds, key=lambda key: leaking[key].total, default=total)


def is_accepting_end(leaking: Mapping[Key, Assessed], key: Key) -> bool:
    """True for the accepted ends of connections between two parts of the service: the ends that connect, which grow as
    much, are their cause."""
    rate = leaking[key].rate
    return key.kind == "tcp-in" and any(
        other.kind.startswith("tcp-out") and math.isclose(one.rate, rate, rel_tol=MAX_EXACT_WIDTH)
        for other, one in leaking.items()
    )


def recipe_of_classes(found: Sequence[Moment], total: Key) -> Recipe | None:
    """The one recipe that explains nearly all classes of a total of which none is certain by itself: each socket of
    departed clients may be of another class."""
    if total != FDS:
        return None
    grown = {
        Key(total.metric, kind): amount
        for kind, amount in _grown_classes(found, total).items()
        if amount >= 1
    }
    recipes = explain(grown, each=False)
    for recipe in dict.fromkeys(recipes.values()):
        share = sum(amount for key, amount in grown.items() if recipes.get(key) is recipe)
        if share >= MIN_CLASS_SHARE * math.fsum(grown.values()):
            return recipe
    return None


def composition(found: Sequence[Moment], total: Key) -> str:
    """The classes whose growth makes up a total, greatest first: "; made up of close-wait +120, …". Empty
    for a total without classes."""
    if total.metric == "memory":
        return ""
    grown = _grown_classes(found, total)
    largest = sorted((by, kind) for kind, by in grown.items() if by >= 1)[::-1][:3]
    return f"; made up of {', '.join(f'{kind} +{by:g}' for by, kind in largest)}" if largest else ""


def _grown_classes(found: Sequence[Moment], total: Key) -> dict[str, float]:
    """By how much each class of a total grew after the warm-up."""
    _, rest = split_warmup(found)
    if len(rest) < 2:
        return {}
    classes = {key for moment in rest for key in moment.levels if key.metric == total.metric and key.kind}
    return {key.kind: rest[-1].levels.get(key, 0.0) - rest[0].levels.get(key, 0.0) for key in classes}
