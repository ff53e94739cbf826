"""What a reader should know beside the verdict."""

from __future__ import annotations

from dataclasses import replace

from harness.core.judge import judge
from tests.core.series import trial


def test_a_worker_that_was_replaced_is_said_and_never_taken_for_a_fix() -> None:
    steady = trial([10.0] * 12)
    cycle = replace(steady.observations[4], events=("pid 12 (worker) ended",))
    told = replace(steady, observations=(*steady.observations[:4], cycle, *steady.observations[5:]))
    assert not any("came and went" in warning for warning in judge(steady).warnings)
    (warning,) = [warning for warning in judge(told).warnings if "came and went" in warning]
    assert "pid 12 (worker) ended" in warning


def test_a_verdict_that_rests_on_a_saturated_generator_warns() -> None:
    steady = trial([10.0] * 12)
    busy = replace(steady.observations[4], ledger=replace(steady.observations[4].ledger, saturated=True))
    told = replace(steady, observations=(*steady.observations[:4], busy, *steady.observations[5:]))
    assert not any("bottleneck" in warning for warning in judge(steady).warnings)
    assert any("bottleneck" in warning for warning in judge(told).warnings)
