"""Assertions for checks written by hand (docs/pytest.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.config import from_arguments
from harness.core.budget import Budget
from harness.core.cycle import CycleSpec, Ledger, Observation
from harness.core.judge import judge
from harness.core.metric import Key
from harness.core.record import TargetInfo, Trial
from harness.core.verdict import Verdict
from harness.no_leaks import Ignore, LeaksError, assert_no_growth, no_leaks, snapshot

__all__ = ["Ignore", "LeaksError", "assert_bounded", "assert_no_growth", "no_leaks", "snapshot"]


def assert_bounded(
    what: Verdict | Mapping[str, Sequence[float]],
    *,
    connections: int = 0,
    budget: Budget | Mapping[str, object] | None = None,
    sensitivity: float = 1e-3,
) -> Verdict:
    """Fail with the evidence unless everything came back; the verdict.

    what: a verdict, or your own readings: metric (``fds``, ``fds/eventfd``, ``memory/anonymous``) → its level
    at rest after each of several cycles with ``connections`` connections each, the first being the base.
    They go through the same judge as a guard's. Raises AssertionError, and ValueError for readings that
    make no sense.
    """
    __tracebackhide__ = True
    verdict = what if isinstance(what, Verdict) else judge(_trial(what, connections, budget, sensitivity))
    if not verdict.bounded:
        raise AssertionError(verdict.explain())
    return verdict


def _trial(
    levels: Mapping[str, Sequence[float]],
    connections: int,
    budget: Budget | Mapping[str, object] | None,
    sensitivity: float,
) -> Trial:
    lengths = {len(values) for values in levels.values()}
    if len(lengths) != 1 or min(lengths) < 2 or connections < 1:
        raise ValueError(
            f"{sorted(lengths)} readings per metric, {connections} connections per cycle; expected as many "
            "readings of each metric, at least 2, and at least 1 connection"
        )
    granted = (
        budget if isinstance(budget, Budget) else from_arguments(budget or {}, "assert_bounded(budget=…)")
    )
    done = Ledger(opened=connections, completed=connections, events=connections, seconds=1.0)
    seen = tuple(
        Observation(
            CycleSpec(index, connections, connections, 1.0),
            done,
            {Key.parse(name): float(values[index]) for name, values in levels.items()},
            started=float(index),
            ended=index + 1.0,
            load_ended=index + 0.5,
        )
        for index in range(lengths.pop())
    )
    target = TargetInfo(None, "", 0)
    return Trial("assert_bounded", target, granted, seen, sensitivity=sensitivity, ended=float(len(seen)))
