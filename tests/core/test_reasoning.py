"""``harness explain``: levels, drivers, the rule and what would have changed it."""

from __future__ import annotations

from dataclasses import replace

from harness.core.judge.trial import judge
from harness.core.record import Trial
from harness.report.reasoning import reasoning
from tests.core.series import trial


def lines(one: Trial, metric: str = "") -> str:
    return "\n".join(reasoning(replace(one, verdict=judge(one)), metric))


def test_a_leak_names_its_levels_the_driver_chosen_and_how_well_each_explains() -> None:
    text = lines(trial([310, 610, 910, 1210]))
    assert text.startswith("fds: leaking\n  levels    ")
    assert "→ 1,210, " in text
    assert "  drivers   1.00 descriptor per " in text
    assert "explains 100% (chosen)" in text
    assert text.count("(chosen)") == 1
    assert "  rule      rose with its driver in all " in text
    assert '"fds" = "…/connection"' in text


def test_a_pass_says_what_would_have_been_a_leak_and_names_no_driver() -> None:
    text = lines(trial([10.0] * 30))
    assert "fds: bounded" in text
    assert "  levels    10 in all of " in text
    assert "drivers" not in text
    assert "  change    not bounded if descriptors had grown by 3" in text


def test_too_little_says_how_many_streams_would_decide() -> None:
    assert "bounded after 3,000 answered streams without growth" in lines(trial([10.0] * 3))


def test_one_metric_alone() -> None:
    assert lines(trial([10.0] * 3), "threads") == ""
    assert lines(trial([10.0] * 3), "fds").count("levels") == 1
