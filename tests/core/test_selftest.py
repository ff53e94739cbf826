"""The self-test of a pass: planted leaks of the claimed size must be found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.design import Goal
from harness.core.judge.selftest import claims, confirmed, self_test
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.outline import outline, quiet_connections
from harness.core.verdict import Outcome
from tests.core.series import FDS, OBJECTS, play, trial

GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), max_seconds=120.0)


def test_a_service_with_little_noise_passes_its_self_test() -> None:
    passed, _ = play(lambda did: {FDS: 10.0}, GOAL)
    assert judge(passed).outcome is Outcome.BOUNDED
    again, planted = confirmed(passed, GOAL)
    assert again.verdict is not None
    assert again.verdict.outcome is Outcome.BOUNDED
    assert [(one.key, one.size, one.found) for one in planted] == [(FDS, 1e-3, True)]


def test_a_service_too_noisy_for_the_claim_is_underpowered() -> None:
    swing = (0, 9, -8, 6, -9, 8, -5, 9, -9, 4)
    noisy, _ = play(lambda did: {FDS: 40.0 + swing[did.cycle % len(swing)]}, GOAL)
    noisy = replace(noisy, sensitivity=1e-3)
    passed = replace(noisy, verdict=replace(judge(noisy), outcome=Outcome.BOUNDED))
    again, planted = confirmed(passed, GOAL)
    assert again.verdict is not None
    assert again.verdict.outcome is Outcome.INCONCLUSIVE
    assert again.verdict.explanation.startswith("underpowered: planted 0.001 fds per connection: not found")
    assert not planted[0].found


def test_a_trial_that_did_not_pass_is_left_alone() -> None:
    leaking = trial([310, 610, 910])
    again, planted = confirmed(leaking)
    assert again.verdict == judge(leaking)
    assert not planted


def test_runtime_counters_are_claimed_where_they_were_read() -> None:
    seen, _ = play(lambda did: {FDS: 10.0, OBJECTS: 50_000.0}, GOAL)
    assert claims(seen) == {FDS: 1e-3, OBJECTS: pytest.approx(0.01)}
    _, planted = confirmed(seen, GOAL)
    assert {one.key for one in planted if one.found} == {FDS, OBJECTS}


def test_a_replay_that_takes_other_cycles_than_were_recorded_keeps_its_clock() -> None:
    # With a leak the plan asks for controls of which none was recorded, and then for loads that were: those
    # begin when the control has ended, not when they were recorded.
    moved, _ = play(lambda did: {FDS: 10.0}, GOAL)
    shifted = [
        replace(
            one, started=one.started - 1000, ended=one.ended - 1000, load_ended=(one.load_ended or 0) - 1000
        )
        for one in moved.observations[4:]
    ]
    torn = replace(moved, observations=(*moved.observations[:4], *shifted))
    assert [one.found for one in self_test(torn, GOAL)] == [True]
    # If the clock jumped back by 1,000 seconds, any number of cycles would fit.
    assert [one.found for one in self_test(torn, replace(GOAL, max_seconds=15.0))] == [False]


def test_memory_is_claimed_only_when_it_was_bounded() -> None:
    memory = Key("memory", "anonymous")
    rested, _ = play(lambda did: {FDS: 10.0, memory: 20e6}, GOAL)
    assert claims(rested)[memory] == 1024
    _, planted = confirmed(rested, GOAL)
    assert all(one.found for one in planted)
    cut = replace(rested, observations=rested.observations[:6])
    assert memory not in claims(cut)


def test_the_plan_in_words_names_sensitivity_sizes_and_time() -> None:
    text = "\n".join(outline(GOAL, 1e-3))
    assert f"{quiet_connections(1e-3):,} connections without growth" in text
    assert "at most 120 s" in text
    assert "too short" not in text
    assert "likely too short" in "\n".join(outline(replace(GOAL, max_seconds=10.0), 1e-4))
    assert "retention" not in text
    waits = "\n".join(outline(replace(GOAL, retention=90.0), 1e-3))
    assert "then no clients until the growth is older than 90 s, the retention time" in waits


def test_the_plan_loads_more_for_a_finer_sensitivity() -> None:
    coarse, _ = play(lambda did: {FDS: 10.0}, GOAL, sensitivity=1e-3)
    fine, _ = play(lambda did: {FDS: 10.0}, GOAL, sensitivity=2.5e-4)
    served = [sum(o.ledger.opened for o in one.observations) for one in (coarse, fine)]
    assert served[1] > 2.5 * served[0]
    assert judge(fine).bounds[0].at_most <= 2.5e-4
