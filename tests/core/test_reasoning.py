"""``harness explain``: levels, drivers, the rule and what would have changed it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.judge.assessed import Assessed
from harness.core.judge.moments import moments, series
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from harness.report.reasoning import change, explained, reasoning
from tests.core.series import trial


def lines(one: Trial, metric: str = "") -> str:
    return "\n".join(reasoning(replace(one, verdict=judge(one)), metric))


def test_a_leak_names_its_levels_the_driver_chosen_and_how_well_each_explains() -> None:
    text = lines(trial([310, 610, 910, 1210]))
    assert text.startswith("fds: leaking\n  levels    ")
    assert "→ 1,210, " in text
    assert "  drivers   1.00 descriptor per " in text
    assert "explains 100 % (chosen)" in text
    assert text.count("(chosen)") == 1
    assert "  rule      rose with its driver in all " in text
    assert '"fds" = "…/connection"' in text


def test_a_pass_reports_the_smallest_detectable_leak_and_names_no_driver() -> None:
    text = lines(trial([10.0] * 30))
    assert "fds: bounded" in text
    assert "  levels    10 in all of " in text
    assert "drivers" not in text
    assert "  otherwise not bounded if descriptors had grown by 3" in text


def test_too_little_states_how_many_streams_would_decide() -> None:
    assert "bounded after 3,000 answered streams without growth" in lines(trial([10.0] * 3))


def test_explain_prints_one_metric_alone() -> None:
    assert lines(trial([10.0] * 3), "threads") == ""
    assert lines(trial([10.0] * 3), "fds").count("levels") == 1


@pytest.mark.parametrize(
    ("key", "noun"),
    [
        (Key("memory", "anonymous"), "anonymous memory"), (Key("memory", "heap-bytes"), "heap"),
        (Key("memory", "objects"), "objects"), (Key("fds", "eventfd"), "eventfds"),
        (Key("tasks", "asyncio-task"), "asyncio tasks"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ["leaking", "suspected", "bounded"])
def test_what_would_have_changed_the_decision_names_the_metric(key: Key, noun: str, status: str) -> None:
    one = replace(trial([10.0]), retention=45.0)
    text = change(one, key, Assessed(status, 0.0123, ""))
    assert f" {noun} " in text
    assert ("45 s" in text) is (status != "bounded")
    assert ("0.012" in text) is (status == "bounded")
    # An amount of memory is one thing, and bytes are not counted in threes.
    amount = key.kind in ("anonymous", "heap-bytes")
    assert f" {noun} {'is' if amount else 'are'} still there" in text or status != "suspected"
    assert ("by 3 or more" in text) is (status == "bounded" and not amount)


def test_a_driver_is_explained_by_how_little_it_leaves() -> None:
    read = series(moments(trial([310, 610, 910])), Key("fds"))
    assert read is not None
    assert explained(read, "connection") == 1.0
    assert explained(read, "abort") is None
    lumpy = series(moments(trial([310, 310, 910])), Key("fds"))
    assert lumpy is not None
    missed = sum(abs(value - sum(lumpy.increments) / len(lumpy.increments)) for value in lumpy.increments)
    assert explained(lumpy, "connection") == pytest.approx(
        max(0.0, 1 - missed / sum(map(abs, lumpy.increments)))
    )
    falling = series(moments(trial([310, 20, 10], warmup=())), Key("fds"))
    assert falling is not None
    assert sum(falling.increments) < 0
    assert explained(falling, "connection") is None
