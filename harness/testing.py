"""The API for tests: assertions for checks of your own, and the types of the plugin's fixtures (docs/pytest.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

from harness.config import from_arguments
from harness.core.budget import Budget
from harness.core.budget_file import metric_name
from harness.core.cycle import CycleSpec, Ledger, Observation
from harness.core.errors import ConfigError
from harness.core.judge.counts import CERTIFIED
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import TargetInfo, Trial
from harness.core.units import rate
from harness.core.verdict import Verdict
from harness.no_leaks import Ignore, LeaksError, assert_no_growth, no_leaks, snapshot

if TYPE_CHECKING:
    from harness.plugin.guarding import BudgetExceeded as BudgetExceeded
    from harness.plugin.guarding import Guard as Guard

__all__ = [
    "BudgetExceeded",
    "Guard",
    "Ignore",
    "LeaksError",
    "assert_bounded",
    "assert_no_growth",
    "no_leaks",
    "snapshot",
]
_OF_THE_PLUGIN = ("BudgetExceeded", "Guard")


def __getattr__(name: str) -> object:
    """The plugin's types need pytest, so they are imported when they are used."""
    if name not in _OF_THE_PLUGIN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.plugin import guarding

    return getattr(guarding, name)


def assert_bounded(
    what: Verdict | Mapping[str, Sequence[float]],
    *,
    connections: int = 0,
    budget: Budget | Mapping[str, object] | None = None,
    sensitivity: float | str = 1e-3,
) -> Verdict:
    """Fail with the evidence unless everything was released; returns the verdict.

    what: a verdict, or your own readings: metric (``fds``, ``fds/eventfd``, ``memory/anonymous``) → its settled level
    after each of several cycles with ``connections`` connections each; the first is the base. They go through the
    same judge as a guard's; a count, such as ``fds`` or ``threads``, must be among them. sensitivity: smallest leak
    per connection that must not be missed, also ``"1/1000"``. Raises AssertionError, ValueError for invalid readings
    and ConfigError for invalid budgets.
    """
    __tracebackhide__ = True
    verdict = (
        what if isinstance(what, Verdict) else judge(_trial(what, connections, budget, _rate(sensitivity)))
    )
    if not verdict.bounded:
        raise AssertionError(verdict.explain())
    return verdict


def _rate(sensitivity: float | str) -> float:
    value = rate("sensitivity", sensitivity) if isinstance(sensitivity, str) else sensitivity
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"sensitivity={sensitivity!r}: expected a rate above 0 such as 1e-3 or '1/1000'")
    return value


def _check_levels(levels: object) -> None:
    """Raises ValueError unless these are numbers, by the names of metrics, with a count among them."""
    if not isinstance(levels, Mapping):
        raise ValueError(f"{levels!r}: expected a verdict, or readings such as {{'fds': [10, 10, 10]}}")
    for name, values in levels.items():
        try:
            metric_name(str(name), "assert_bounded")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise ValueError(f"{name}: {values!r}; expected a list of numbers, none below 0")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{name}: {value!r}; expected a list of numbers, none below 0")
    if levels and not any(Key.parse(name).metric in CERTIFIED for name in levels):
        raise ValueError(
            f"{', '.join(levels)}: readings that rarely return to the same value decide nothing alone; "
            f"expected one of {', '.join(sorted(CERTIFIED))} as well"
        )


def _trial(
    levels: Mapping[str, Sequence[float]],
    connections: int,
    budget: Budget | Mapping[str, object] | None,
    sensitivity: float,
) -> Trial:
    _check_levels(levels)
    if isinstance(connections, bool) or not isinstance(connections, int):
        raise ValueError(f"connections={connections!r}: expected how many there were in each cycle")
    lengths = {len(values) for values in levels.values()}
    if len(lengths) != 1 or min(lengths) < 2 or connections < 1:
        raise ValueError(
            f"{sorted(lengths)} readings per metric, {connections} connections per cycle; expected as many "
            "readings of each metric, at least 2, and at least 1 connection"
        )
    if budget is not None and not isinstance(budget, Budget | Mapping):
        raise ConfigError(f"budget={budget!r}: expected a mapping such as {{'fds': '0/connection'}}")
    granted = (
        budget if isinstance(budget, Budget) else from_arguments(budget or {}, "assert_bounded(budget=…)")
    )
    # The judge needs a cycle for each reading: one with no failures, in which every connection got one event.
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
