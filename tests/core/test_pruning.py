"""Pruning keeps whatever any rule keeps."""

from __future__ import annotations

import datetime

from harness.core.history import prunable
from tests.history.nightly_runs import START, measured, month, nightly_run

NOW = START + datetime.timedelta(days=29)


def pruned(**rules: object) -> list[int]:
    return [int(one.digest, 16) for one in prunable(month(), NOW, **rules)]  # type: ignore[arg-type]


def test_without_a_rule_no_run_is_pruned() -> None:
    assert pruned() == pruned(keep_failures=True) == []


def test_runs_within_the_age_limit_stay() -> None:
    assert pruned(keep_days=10) == list(range(19))


def test_the_newest_of_each_target_stay() -> None:
    assert pruned(keep_last=3) == list(range(27))
    entries = [*month(), *(nightly_run(n, measured(0.0), target="other") for n in (50, 51))]
    assert {int(one.digest, 16) for one in prunable(entries, NOW, keep_last=1)} == {*range(29), 50}


def test_failures_stay_beside_another_rule() -> None:
    assert pruned(keep_last=0, keep_failures=True) == list(range(18))
    assert pruned(keep_last=0) == list(range(30))


def test_a_run_that_any_rule_keeps_stays() -> None:
    assert pruned(keep_days=5, keep_last=15) == list(range(15))
