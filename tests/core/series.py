"""Trials from scripted levels, for tests of everything that judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.budget import Budget
from harness.core.cycle import BrokerCount, CycleSpec, Ledger, Observation, Phase
from harness.core.metric import Key
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import Container, Place, TargetInfo, Trial

FDS = Key("fds")
OBJECTS = Key("memory", "objects")
MODES = ("fin", "rst", "rst-early", "half-close", "stall")
PACE = 800.0  # connections a second
REST = 1.3  # seconds


@dataclass(frozen=True, slots=True)
class CycleSums:
    """The state at the end of a cycle of ``play``: its number, and the sums so far."""

    cycle: int
    connections: int
    events: int
    aborts: int
    stalls: int
    unanswered: int
    seconds: float
    loads: int = 0  # cycles with clients


def play(
    level: Callable[[CycleSums], Mapping[Key, float]],
    goal: Goal,
    *,
    sensitivity: float = 1e-3,
    limit: int = 150,
    budget: Budget | None = None,
) -> tuple[Trial, str]:
    """Run a scripted service under the plan until the plan stops: the trial, and the reason for stopping."""
    now = Trial(
        "played",
        TargetInfo(("service",), "http://127.0.0.1:1/", 1),
        budget or Budget(),
        sensitivity=sensitivity,
    )
    did = CycleSums(0, 0, 0, 0, 0, 0, 0.0)
    for index in range(limit):
        step = next_step(now, goal)
        if isinstance(step, Stop):
            return replace(now, ended=did.seconds), step.reason
        n = step.connections
        modes = MODES if step.disconnect == "mixed" else (step.disconnect,)
        by_mode = {mode: n // len(modes) + (i < n % len(modes)) for i, mode in enumerate(modes)} if n else {}
        stalls = by_mode.get("stall", 0)
        aborts = n - by_mode.get("fin", 0) - stalls
        events = (n - stalls - by_mode.get("rst-early", 0)) * (step.events or 20)
        load = max(n / PACE, step.dwell if n == 0 or not step.events else 0.0)
        unanswered = n if step.fault else 0
        start = did.seconds
        did = CycleSums(
            index, did.connections + n, did.events + events, did.aborts + aborts, did.stalls + stalls,
            did.unanswered + unanswered, start + load + REST, did.loads + (n > 0),
        )  # fmt: skip
        seen = Observation(
            spec=step,
            ledger=Ledger(
                opened=n, completed=n, events=events, aborts=aborts + stalls, seconds=load, by_mode=by_mode,
                first_event_p99=0.05,
            ),
            levels=level(did),
            started=start,
            ended=did.seconds,
            load_ended=start + load,
            broker=BrokerCount(1, 1, n, n - unanswered, unanswered) if goal.broker else None,
        )  # fmt: skip
        now = replace(now, observations=(*now.observations, seen))
    return now, "limit"


def observation(
    index: int,
    levels: Mapping[Key, float],
    *,
    phase: Phase = Phase.LOAD,
    opened: int = 300,
    concurrency: int = 50,
    ledger: Mapping[str, Any] | None = None,
    **more: Any,
) -> Observation:
    """One settled cycle of three seconds."""
    done = 0 if phase is Phase.IDLE else opened
    return Observation(
        spec=CycleSpec(index, done, concurrency, 1.0, phase=phase),
        ledger=Ledger(
            **{"opened": done, "completed": done, "seconds": 1.0, "events": done, **(ledger or {})}
        ),
        levels=levels,
        started=index * 3.0,
        ended=index * 3.0 + 3.0,
        load_ended=index * 3.0 + 1.0,
        **more,
    )


def trial(
    load: Sequence[float],
    *,
    warmup: Sequence[float] = (10, 10, 10),
    idle: Sequence[float] = (),
    key: Key = FDS,
    opened: int = 300,
    **more: Any,
) -> Trial:
    """A trial whose cycles ended at these levels of one key, in the order warm-up, idle, load."""
    phases = (
        [(Phase.WARMUP, v) for v in warmup]
        + [(Phase.IDLE, v) for v in idle]
        + [(Phase.LOAD, v) for v in load]
    )
    seen = [
        observation(index, {key: float(value)}, phase=phase, opened=opened)
        for index, (phase, value) in enumerate(phases)
    ]
    return Trial(
        name="scripted",
        target=TargetInfo(("service",), "http://127.0.0.1:1/", 1, limits={"RLIMIT_NOFILE": 1024.0}),
        budget=more.pop("budget", Budget()),
        observations=tuple(more.pop("observations", seen)),
        ended=100.0,
        **more,
    )


def container(
    name: str, kind: str, item: str = "", *, rate: float = 1.0, per: str = "connection", own: bool = True
) -> Place:
    """A place that is a container, as a search finds it."""
    held = Container(name, kind, item)
    return Place("container", f"{held.site} that gains {rate:.2f} per {per}", own, held, rate, per)
