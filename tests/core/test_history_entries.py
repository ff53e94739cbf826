"""What a night's entry holds of each metric."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.history import measured
from harness.core.judge.trial import judge
from tests.core.series import trial


def test_the_smallest_detectable_leak_is_the_bound_per_stream_and_not_that_per_hour() -> None:
    passed = trial([10.0] * 30)
    judged = replace(passed, verdict=judge(passed))
    assert judged.verdict
    mine = [bound for bound in judged.verdict.bounds if (bound.metric, bound.kind) == ("fds", "")]
    assert {bound.per_stream for bound in mine} == {True, False}, "there is one of each"
    (expected,) = (bound.at_most for bound in mine if bound.per_stream)
    (entry,) = (one for one in measured(judged) if (one.metric, one.kind) == ("fds", ""))
    assert entry.unit == "fds/connection"
    assert entry.at_most == pytest.approx(expected)
