"""The cycle that shows where a certain leak grows: large enough to stand out, and small enough not to crash the
service."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from harness.core.cycle import CycleSpec, Ledger, Observation, Phase
from harness.core.judge.connected_findings import SCOPE
from harness.core.judge.forecast import CEILINGS
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial

__all__ = ["attribution_cycle", "units"]

MIN_LEAKED = 50.0  # leaked objects that make a place stand out from the other work of a cycle
MIN_CYCLES_BELOW_CEILING = 5  # cycles of attribution that must fit below the nearest ceiling: three are run
MIN_CYCLE = 5  # connections: fewer show nothing
MIN_CONNECTIONS = 200  # connections in one cycle of attribution
# Units of a driver that the ledger of a cycle counts, and their names; other growth is reported per connection.
UNITS = {"event": "event", "abort": "abort", "answered-stream": "answered stream"}


def attribution_cycle(trial: Trial) -> tuple[CycleSpec, str] | None:
    """A further cycle that shows where a certain leak grows, and the unit of its driver.

    None when no leak is certain, or a ceiling is so near that the service would run into it. The rarer the leak, the
    larger the cycle, but it is never larger than the cycles before.
    """
    # Growth that is freed at the disconnect cannot be found after the end of a cycle.
    leaking = [
        f
        for f in judge(trial).findings
        if f.status in ("leaking", "suspected") and f.rate and f.scope != SCOPE
    ]
    loads = [o.spec for o in trial.observations if o.spec.connections]
    if not leaking or not loads:
        return None
    first = leaking[0]
    assert first.rate
    per = first.rate.unit.rpartition("/")[2]
    if first.driver == "time":
        per = "second"
        seconds = max(o.ended - o.started for o in trial.observations)
        step = next((spec for spec in reversed(loads) if spec.phase is Phase.LOAD), loads[-1])
        return replace(
            step, index=len(trial.observations), connections=0, dwell=seconds, phase=Phase.SEARCH
        ), per
    step = _load_with_driver(trial, first.driver or "")
    wanted = math.ceil(MIN_LEAKED / first.rate.value) if first.rate.value > 0 else step.connections
    size = min(max(step.connections, MIN_CONNECTIONS), max(MIN_CONNECTIONS, wanted))
    # The search for the place must not crash the service.
    room = min(_room_below_ceilings(trial, step), default=math.inf)
    if math.isfinite(room):
        size = min(size, int(room / MIN_CYCLES_BELOW_CEILING))
    if size < MIN_CYCLE:
        return None
    step = replace(step, index=len(trial.observations), connections=size, phase=Phase.SEARCH)
    return step, UNITS.get(per, "connection")


def _load_with_driver(trial: Trial, driver: str) -> CycleSpec:
    """The last load in which the driver occurred, or the last load of all if it occurred in none."""
    loaded = [o for o in trial.observations if o.spec.connections]
    fit = [o for o in loaded if _has_driver(o, driver)] or loaded
    return next((o.spec for o in reversed(fit) if o.spec.phase is Phase.LOAD), fit[-1].spec)


def _has_driver(observation: Observation, driver: str) -> bool:
    if driver == "broker-timeout":
        return bool(observation.spec.fault)
    if driver == "abort":
        return observation.ledger.aborts > 0
    if driver == "invalid-request":
        return observation.ledger.invalid > 0
    if driver == "refused-stream":
        return observation.ledger.refused > 0
    if driver == "slow-reader":
        return observation.ledger.by_mode.get("stall", 0) > 0
    return not observation.spec.fault


def _room_below_ceilings(trial: Trial, step: CycleSpec) -> Iterator[float]:
    """Connections in cycles like this one that each ceiling leaves, at the fastest growth seen in one."""
    last = trial.observations[-1]
    for name, ceilings in CEILINGS.items():
        key = Key.parse(name)
        limit = min((trial.target.limits.get(ceiling, math.inf) for ceiling in ceilings), default=math.inf)
        level = _level(last, key)
        if level is None or not math.isfinite(limit):
            continue
        pairs = zip(trial.observations, trial.observations[1:], strict=False)
        growth = [
            (now.levels[key] - before.levels[key]) / now.ledger.opened
            for before, now in pairs
            if now.ledger.opened
            and now.spec.fault == step.fault
            and key in now.levels
            and key in before.levels
        ]
        if max(growth, default=0.0) > 0:
            yield max(0.0, limit - level) / max(growth)


def _level(observation: Observation, key: Key) -> float | None:
    """The level to compare with the ceiling: descriptors of the process with most, anything else of the whole tree."""
    census = observation.census
    if key == Key("fds") and census and census.per_process:
        return float(max(census.per_process.values()))
    return observation.levels.get(key)


def units(ledger: Ledger, per: str, seconds: float) -> float:
    """The amount of the driver in one cycle."""
    answered = ledger.opened if ledger.answered is None else ledger.answered
    counts = {
        "second": seconds,
        "event": float(ledger.events),
        "abort": float(ledger.aborts),
        "answered stream": float(answered),
    }
    return counts.get(per, float(ledger.opened))
