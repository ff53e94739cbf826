"""The results of hold cycles, as findings, bounds and warnings of a verdict (``while_connected`` measures it)."""

from __future__ import annotations

import math
from dataclasses import replace

from harness.core.design import spent_seconds
from harness.core.judge.caveat import SETTLING, time_option
from harness.core.judge.forecast import nearest, soonest
from harness.core.judge.hold_readings import SETTLE_SHARE, holds
from harness.core.judge.memory import MEMORY
from harness.core.judge.while_connected import (
    HOLD_MARGIN,
    KERNEL_BUFFER_BYTES,
    NOISE,
    Grown,
    all_grown,
    certain,
    open_growth,
)
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.units import bytes_text, counted, duration_text, six_digits
from harness.core.verdict import Bound, Exhaustion, Finding, Rate

SCOPE = "while-connected"
MIN_EVENTS_PER_CLIENT = 3.0  # events a client, from which growth is counted per event
MAX_READING_DELAY = 0.2  # seconds by which a level may be read later than the events were counted


def hourly(trial: Trial) -> dict[Key, float]:
    """Units per client and connected hour of everything that is a finding."""
    return {one.key: one.per_client / one.seconds * 3600 for one in certain(trial)}


def findings(trial: Trial) -> list[Finding]:
    """A finding for each key that grew while clients stayed connected; bytes last."""
    found = sorted(certain(trial), key=lambda one: (one.key.metric == "memory", one.key))
    return [_finding(one, forecast(trial, one)) for one in found]


def forecast(trial: Trial, one: Grown) -> Exhaustion | None:
    """The ceiling that is reached first while as many clients stay connected as in the hold, from the level without
    clients."""
    levels = trial.observations[-1].levels
    rate = one.total / one.seconds
    keys = {one.key.metric: Key(one.key.metric)}
    if one.key.metric == "memory":  # its ceilings are in bytes
        keys = {one.key.metric: MEMORY, str(one.key): one.key} if one.key.unit == "B" else {}
    found = [
        nearest(
            name,
            levels.get(key, 0.0),
            Rate(rate, rate, rate, "per second"),
            trial.target.limits,
            over_time=True,
        )
        for name, key in keys.items()
    ]
    first = soonest(found)
    return replace(first, clients=one.clients) if first else None


def _finding(one: Grown, exhausts: Exhaustion | None = None) -> Finding:
    driver, amount, words = _driver(one)
    value, hidden = one.total / amount, one.hidden / amount
    noise = NOISE.get(one.key.unit, 1.0) / amount + value * MAX_READING_DELAY / one.seconds
    unit = one.key.unit
    after = (
        "and the run ended before they left"
        if one.cut
        else "and not yet collected after they left"
        if one.kept
        else "freed when they leave"
    )
    text = (
        f"+{_sized(value, unit)} of {one.key} per {words} while clients stay connected, {after}: "
        f"{_sized(one.total, unit)} in {one.seconds:.0f} s with {counted(one.clients, 'client')}, "
        f"{_sized(one.per_client / one.seconds * 3600, unit)} per connected hour"
    )
    return Finding(
        metric=one.key.metric,
        kind=one.key.kind,
        status="leaking",
        driver=driver,
        rate=Rate(
            six_digits(value),
            six_digits(max(0.0, value - noise)),
            six_digits(value + hidden + noise),
            f"{unit}/{driver}",
        ),
        exhausts=exhausts,
        explanation=text,
        scope=SCOPE,
        per=words,
    )


def _driver(one: Grown) -> tuple[str, float, str]:
    """The driver's name, how much of it there was, and the words for one unit of it."""
    seconds = one.clients * one.seconds
    if one.stalled == one.clients:
        return "stalled-second", seconds, "second of a stalled reader"
    if one.events >= MIN_EVENTS_PER_CLIENT * one.clients and not one.timed:
        return "event", one.events, "event"
    return "connected-second", seconds, "second of a connected client"


def bounds(trial: Trial) -> list[Bound]:
    """The largest growth of each key per connected hour that the hold cycles could have missed (95 %)."""
    known = {one.key for one in certain(trial)}
    most: dict[Key, tuple[float, float]] = {}
    for seen in holds(trial):
        for one in all_grown(trial, seen):
            grew, hours = most.get(one.key, (0.0, 0.0))
            most[one.key] = (grew + max(0.0, one.total), hours + one.clients * one.seconds / 3600)
    made, unseen = [], _unseen_of_stalled(trial)
    for key, (grew, hours) in sorted(most.items()):
        if key in known or hours < 1e-6:  # too short to bound anything per hour
            continue
        noise = NOISE.get(key.unit, 3.0)
        text = f"clients were connected for {60 * hours:.2g} minutes in all{unseen}"
        at_most, unit = six_digits((grew + noise) / hours), f"{key.unit}/connected-hour"
        made.append(Bound(key.metric, key.kind, "observed", at_most, unit, 0.95, text, SCOPE))
    return made


def _unseen_of_stalled(trial: Trial) -> str:
    """In words, that stalled readers were not held for long enough to make the service keep anything; else empty."""
    paces = [
        seen.ledger.bytes / readers / seen.ledger.seconds
        for seen in holds(trial)
        if (readers := seen.spec.connections - seen.spec.stalled) > 0 and seen.ledger.seconds > 0
    ]
    pace = max(paces, default=0.0)
    longest = max((seen.spec.dwell for seen in holds(trial) if seen.spec.stalled), default=0.0)
    if pace <= 0 or pace * longest >= KERNEL_BUFFER_BYTES:
        return ""
    seconds = math.ceil(KERNEL_BUFFER_BYTES / pace + longest)
    return (
        f"; what stalled readers make it keep was not seen, because the kernel takes the first "
        f"{bytes_text(KERNEL_BUFFER_BYTES)}, and {bytes_text(pace)} a second arrived: --hold {seconds}s"
    )


def warnings(trial: Trial) -> list[str]:
    """Growth that a bounded buffer explains as well as a leak, and the option that decides between them."""
    last = {one.key: one for one in open_growth(trial)}
    return [_explained(one) for _, one in sorted(last.items())]


def undecided(trial: Trial) -> tuple[str, str] | None:
    """Why growth while connected is not decided, and the option and time that decide it; None where none is open."""
    last = {one.key: one for one in open_growth(trial)}
    if not last:
        return None
    soonest: dict[str, Grown] = {}  # objects and their bytes are the same growth, and either decides
    for one in sorted(last.values(), key=lambda one: (_seconds(one), one.key)):
        soonest.setdefault(one.key.metric, one)
    slowest = max(soonest.values(), key=lambda one: (_seconds(one), one.key))
    seconds = _seconds(slowest)
    more = math.ceil((spent_seconds(trial) + 2 * (seconds + SETTLING)) / 10) * 10
    return _explained(
        slowest
    ), f"hold clients for longer: --hold {seconds}s {time_option(trial)} {duration_text(more)}"


def _seconds(one: Grown) -> int:
    """Seconds of a hold in which growth at this pace exceeds any bounded buffer."""
    return math.ceil(HOLD_MARGIN * one.limit / (one.per_client / one.seconds) / (1 - SETTLE_SHARE) / 10) * 10


def _explained(one: Grown) -> str:
    unit = one.key.unit
    return (
        f"{one.key} grew by {_sized(one.per_client, unit)} per client in {one.seconds:.0f} s while connected, "
        f"which a bounded buffer of {_sized(one.limit, unit)} could explain: --hold {_seconds(one)}s decides"
    )


def _sized(value: float, unit: str) -> str:
    """``1.4 MiB``, ``12 kB``, ``3 fds``."""
    if unit != "B":
        return f"{value:.3g} {unit}"
    for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1000, "kB")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g} B"
