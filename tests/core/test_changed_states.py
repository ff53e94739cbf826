"""Sockets of departed clients pass from one class to another while they wait: that is no growth over time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.core.judge.assessed import Assessed
from harness.core.judge.counts import without_changed_states
from harness.core.judge.moments import Series
from harness.core.metric import Key

TOTAL, MPTCP, TASKS = Key("fds"), Key("fds", "mptcp"), Key("tasks", "goroutine")
OVER_TIME = Assessed("leaking", 30.0, "grew over 26 cycles in proportion", 1_600.0, 3_500.0, "time")


def counts(key: Key, levels: Sequence[float]) -> Series:
    """A load of 300 clients, and then readings without any."""
    spans = tuple(
        {"connection": 300.0 * (index == 0), "time": 2.0, "reading": 1.0} for index in range(len(levels) - 1)
    )
    return Series(key, tuple(levels), spans, 50, ())


@pytest.mark.parametrize(
    ("total", "status"),
    [
        ([600, 3_300, 3_200, 2_800, 2_400], "undecided"),  # a Go of 30 s: the total fell
        ([600, 2_200, 2_200, 2_200, 2_200], "undecided"),  # one class takes over from another
        ([600, 900, 1_500, 2_100, 2_500], "leaking"),
    ],
)
def test_a_class_grows_over_time_only_with_the_total(total: list[float], status: str) -> None:
    read = {TOTAL: counts(TOTAL, total), MPTCP: counts(MPTCP, [300, 800, 1_300, 1_900, 2_400])}
    one = without_changed_states({MPTCP: OVER_TIME}, read)[MPTCP]
    assert one.status == status
    assert not one.growing
    assert ("changed their state" in one.why) is (status == "undecided")


def test_other_growth_and_other_metrics_are_left_alone() -> None:
    read = {TOTAL: counts(TOTAL, [600, 3_300, 2_400]), MPTCP: counts(MPTCP, [300, 800, 2_400])}
    per_stream = Assessed("leaking", 1.0, "rose with its driver", 1_600.0, 3_500.0, "connection")
    results = {MPTCP: per_stream, TASKS: OVER_TIME}
    assert without_changed_states(results, {**read, TASKS: counts(TASKS, [300, 800, 2_400])}) == results
