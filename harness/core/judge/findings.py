"""The findings of a verdict: what leaks, how much, when a limit is reached, and the sentence that says so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.core.judge.assessed import Assessed
from harness.core.judge.bounds import SECONDS_PER_HOUR
from harness.core.judge.bounds import bounds as bounds  # harness.core.plan imports it from here
from harness.core.judge.caveat import connections_per_second
from harness.core.judge.classes import (
    composition,
    is_accepting_end,
    largest_class,
    recipe_of_classes,
    reported_keys,
)
from harness.core.judge.diagnose import distinct, growth_text, per, published
from harness.core.judge.explaining_places import where
from harness.core.judge.following import only_follows
from harness.core.judge.forecast import ceiling_text, first_full, first_limit, nearest, soonest
from harness.core.judge.hourly import time_text
from harness.core.judge.mapping_kinds import mapped_text
from harness.core.judge.memory import MEMORY
from harness.core.judge.moment import Moment
from harness.core.judge.moments import split_warmup
from harness.core.judge.recipe import Recipe, explain
from harness.core.metric import Key, rank
from harness.core.record import Trial
from harness.core.stats.varying import WIDEST
from harness.core.units import counted, duration_text, six_digits
from harness.core.verdict import Exhaustion, Finding, Rate

MAPPINGS = Key("mappings")
EVENTFD = Key("fds", "eventfd")
MAX_CEILING_ROOM = 0.02  # share of a ceiling that is still free where it is what stopped the service
CHILD = "child-process"  # the recipe of processes that never end


def leaks(trial: Trial, found: Sequence[Moment], results: Mapping[Key, Assessed]) -> list[Finding]:
    """One finding per leaking key, steepest first; totals only where no kind of theirs grew.

    A leaked process comes first, because it has descriptors, a thread and memory of its own.
    """
    leaking = {
        key: one
        for key, one in results.items()
        if one.status == "leaking" or (one.status == "suspected" and not only_follows(key, results))
    }
    recipes = explain({key: one.rate for key, one in leaking.items() if key.metric != "memory"})
    ordered = sorted(
        reported_keys(leaking),
        key=lambda k: (
            leaking[k].status,
            *_report_order(k),
            is_accepting_end(leaking, k),
            -leaking[k].rate,
            k,
        ),
    )
    made = [
        _finding(
            trial,
            found,
            key,
            leaking,
            recipes.get(key if key.kind else largest_class(leaking, key)) or recipe_of_classes(found, key),
        )
        for key in ordered
    ]
    # A service that stopped at a limit of its own does not come as far as another one.
    made = [replace(one, exhausts=None) if one.reached and not _at_ceiling(one) else one for one in made]
    # A limit that another growth never lets the service reach is not named in words.
    first = first_limit(made)
    return [
        replace(one, explanation=one.explanation + _exhaustion_text(first))
        if first and one.exhausts == first
        else one
        for one in made
    ]


def _at_ceiling(one: Finding) -> bool:
    """Whether the ceiling of the forecast is what growth reached."""
    if one.exhausts is None or one.exhausts.after_connections is None or one.rate is None:
        return False
    room = one.exhausts.after_connections * one.rate.value
    return room <= MAX_CEILING_ROOM * one.exhausts.limit


def _finding(
    trial: Trial, found: Sequence[Moment], key: Key, leaking: Mapping[Key, Assessed], recipe: Recipe | None
) -> Finding:
    """The finding of one key. leaking: the results of every leaking key."""
    one, name = leaking[key], recipe.name if recipe else None
    rate = _rate(one, key)
    over_time = one.factor == "time"
    hourly = SECONDS_PER_HOUR if over_time else 1.0
    unit = "hour, with or without clients" if over_time else per(one.factor)
    text = f"{growth_text(one.rate * hourly, key)} per {unit}: {one.why}"
    others = distinct(one.factor, one.rivals)
    if others:
        text += f" (indistinguishable from: {', '.join(others)})"
    if not key.kind:
        text += composition(found, key)
    if key == MAPPINGS and (mapped := mapped_text(trial)):
        text += f"; {mapped}"
    if recipe:
        text += f"; {recipe.sentence}"
    if stayed := retained_text(one):
        text += f"; {stayed}"
    return Finding(
        metric=key.metric,
        kind=key.kind,
        status=one.status,
        driver=published(one.factor),
        rate=rate,
        recipe=name,
        exhausts=forecast(trial, found, key, one, leaking.get(Key(key.metric), one), name or ""),
        explanation=text,
        where=where(trial.places, key, rate.value),
        retained_seconds=six_digits(one.idle_evidence.age) if one.idle_evidence else None,
        per="" if over_time else per(one.factor),
        released=f"the rest was {one.release.text()}" if one.release and one.release.over else "",
        reached=one.reached,
    )


def _report_order(key: Key) -> tuple[int, bool]:
    return rank(key), key.metric != "processes"


def retained_text(one: Assessed) -> str:
    """The time for which the growth has been retained, and the option for a service that retains it on purpose."""
    if one.idle_evidence is None:
        return ""
    age = math.floor(one.idle_evidence.age)
    if one.status == "suspected":
        return f"the oldest is {age} s old: not yet shown to outlive the retention time"
    return f"retained for at least {age} s; {if_intended(age)}"


def if_intended(age: float) -> str:
    """The option for a service that retains on purpose what was seen to stay for ``age`` seconds."""
    longer = duration_text(5 * 60.0 if age < 150 else 4.0 * math.floor(age))
    return f"if that is intended, pass --retention {longer}"


def forecast(
    trial: Trial, found: Sequence[Moment], key: Key, one: Assessed, total: Assessed, recipe: str
) -> Exhaustion | None:
    """The ceiling that is reached first at this rate: of the whole metric, or of the kind where it has one."""
    # Each further process has limits of its own, so only the ceiling of the processes can be reached. The ceilings of
    # memory are in bytes, and say nothing about objects.
    if (recipe == CHILD and key.metric != "processes") or (key.metric == "memory" and key.unit != "B"):
        return None
    level = _last_level(found, Key(key.metric) if key.metric != "memory" else MEMORY)
    limits, pace = trial.target.limits, connections_per_second(trial)
    # What grows over time does so at its own rate, though the total may follow the connections.
    over_time = one.factor == "time"
    rate = _per_connection(one if over_time else total, found)
    # Ceilings of a user or a control group bound the tree; that of descriptors bounds each process.
    limit = limits.get("RLIMIT_NOFILE", math.inf)
    if key.metric == "fds" and (one_process := first_full(trial.observations, limit)):
        level, share = one_process
        rate = Rate(rate.value * share, rate.low * share, rate.high * share, rate.unit)
    over_time = over_time or total.factor == "time"
    whole = nearest(key.metric, level, rate, limits, per_second=pace, over_time=over_time)
    # An eventfd counts towards ZeroMQ's limit only where it is one of a ZeroMQ socket, each of which has one.
    if not key.kind or (key == EVENTFD and recipe not in ("zeromq-socket", "eventfd")):
        return whole
    own_rate = _per_connection(one, found)
    own = nearest(
        str(key), _last_level(found, key), own_rate, limits, per_second=pace, over_time=one.factor == "time"
    )
    return soonest([own, whole])


def _per_connection(one: Assessed, found: Sequence[Moment]) -> Rate:
    """The growth per connection of this load, or per second where it grows over time whatever the load."""
    if one.factor == "time":
        return Rate(one.rate, one.low, one.high, "per second")
    _, judged = split_warmup(found)
    done = {
        name: judged[-1].done.get(name, 0.0) - judged[0].done.get(name, 0.0)
        for name in (one.factor, "connection")
    }
    scale = done[one.factor] / done["connection"] if done["connection"] > 0 else 0.0
    return Rate(one.rate * scale, one.low * scale, one.high * scale, "per connection")


def ceilings(trial: Trial, found: Sequence[Moment]) -> list[Finding]:
    """Findings for levels above a ceiling of the budget."""
    made = []
    for name, limit in sorted(trial.budget.ceilings.items()):
        key = Key.parse(name)
        levels = [moment.levels[key] for moment in found if key in moment.levels]
        if levels and max(levels) > limit:
            text = f"{key} reached {_level(max(levels), key)} while idle, over its ceiling of {_level(limit, key)}"
            made.append(Finding(key.metric, key.kind, "over-ceiling", None, None, text))
    return made


def _level(value: float, key: Key) -> str:
    """``12``, ``1.44 MiB``."""
    if key.unit == "B" and value >= 1 << 20:
        return f"{value / (1 << 20):.4g} MiB"
    return f"{value:g}{' B' if key.unit == 'B' else ''}"


def _unit(factor: str) -> str:
    """The unit of a rate: ``fds/connection``, ``fds/broker-timeout``, ``B/event``."""
    return {
        "time": "hour",
        "not-fin": "abort",
        "reset": "abort",
        "stall": "slow-reader",
        "stream-second": "stream-second",
    }.get(factor, published(factor))


def _rate(one: Assessed, key: Key) -> Rate:
    scale = SECONDS_PER_HOUR if one.factor == "time" else 1.0
    # That nothing leaks was excluded at 1,000 to 1, so zero is not in the interval. The truth may be as many times
    # smaller than the rate as it may be larger.
    low = max(one.low, one.rate * math.exp(-WIDEST))
    return Rate(
        six_digits(one.rate * scale),
        six_digits(low * scale),
        six_digits(one.high * scale),
        f"{key.unit}/{_unit(one.factor)}",
    )


def _last_level(found: Sequence[Moment], key: Key) -> float:
    return next((moment.levels[key] for moment in reversed(found) if key in moment.levels), 0.0)


def _exhaustion_text(exhausts: Exhaustion) -> str:
    ceiling = ceiling_text(exhausts)
    seconds = exhausts.after_seconds
    if exhausts.after_connections is None:
        return (
            f"; {ceiling} is exhausted after about {time_text(seconds)}, whatever the load" if seconds else ""
        )
    time = f" (about {seconds:.0f} s at the pace of this load)" if seconds else ""
    more = counted(exhausts.after_connections, "more connection", ".0f")
    return f"; {more} exhaust{'s' if round(exhausts.after_connections) == 1 else ''} {ceiling}{time}"
