"""Trials from scripted levels, for tests of everything that judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.budget import Budget
from harness.core.cycle import CycleSpec, Ledger, Observation, Phase
from harness.core.metric import Key
from harness.core.record import TargetInfo, Trial

FDS = Key("fds")


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
