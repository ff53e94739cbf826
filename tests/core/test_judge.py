"""Every outcome from scripted numbers: what must turn red, what must stay green."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.budget import Budget
from harness.core.judge import judge
from harness.core.metric import Key
from harness.core.record import ExitInfo
from harness.core.verdict import Outcome
from tests.core.series import observation, trial

STEADY = [10.0] * 12


def test_no_growth_over_enough_connections_is_bounded_with_its_bound() -> None:
    verdict = judge(trial(STEADY))
    assert verdict.outcome is Outcome.BOUNDED
    assert verdict.exit_code == 0
    (bound,) = verdict.bounds
    assert bound.at_most == pytest.approx(3 / 3600)


def test_no_growth_over_too_few_connections_is_inconclusive_and_says_so() -> None:
    verdict = judge(trial([10, 10, 10]))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "asked for 0.001" in verdict.explanation
    assert verdict.exit_code == 3


def test_one_descriptor_per_connection_is_a_leak_with_rate_driver_and_ceiling() -> None:
    verdict = judge(trial([310, 610, 910]))
    assert verdict.outcome is Outcome.LEAKING
    (finding,) = verdict.findings
    assert finding.rate is not None
    assert finding.rate.value == pytest.approx(1.0)
    assert finding.driver == "connection"
    assert finding.exhausts is not None
    assert finding.exhausts.after_connections == pytest.approx(1024 - 910)


@pytest.mark.parametrize(
    "levels",
    [
        [42, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60],  # a pool fills and stops
        [11, 12, 11, 10, 12, 11, 10, 11, 12, 11, 10, 11, 12, 10, 11],  # jitter
        [74, 73, 74, 74, 73, 74, 74, 74, 74, 73, 74, 74, 74, 74, 74],  # a step, then jitter
    ],
)
def test_innocent_series_are_never_a_leak(levels: list[float]) -> None:
    assert judge(trial(levels)).outcome in (Outcome.BOUNDED, Outcome.INCONCLUSIVE)


def test_growth_that_needs_no_client_is_not_blamed_on_connections() -> None:
    # Three descriptors a cycle, whether or not clients come: the idle cycles take it off.
    verdict = judge(trial([25, 28, 31, 34, 37], warmup=(10, 13, 16), idle=(19, 22)))
    assert verdict.outcome is not Outcome.LEAKING


def test_a_budget_allows_what_it_allows() -> None:
    leaking = trial([310, 610, 910])
    assert judge(replace(leaking, budget=Budget(growth={"fds": 1.0}))).outcome is not Outcome.LEAKING
    assert judge(replace(leaking, budget=Budget(growth={"fds": 0.5}))).outcome is Outcome.LEAKING


def test_a_ceiling_that_was_passed_is_the_services_fault() -> None:
    verdict = judge(trial(STEADY, budget=Budget(ceilings={"fds": 9})))
    assert verdict.outcome is Outcome.OVER_CEILING
    assert verdict.exit_code == 1


def test_a_death_is_a_crash_with_signal_signature_and_what_had_grown() -> None:
    log = ("Assertion failed: check () (src/msg.cpp:387)",)
    died = replace(trial([310, 610, 910]), exit=ExitInfo(-6, 12.5, 950, log))
    verdict = judge(died)
    assert verdict.outcome is Outcome.CRASHED
    assert Outcome.LEAKING in verdict.also
    assert verdict.crash is not None
    assert (verdict.crash.signal, verdict.crash.signature) == ("SIGABRT", "zeromq-assertion")
    assert verdict.crash.grown == {"fds": 900.0}


def test_an_exit_with_code_0_under_load_is_a_crash_too() -> None:
    assert judge(replace(trial(STEADY), exit=ExitInfo(0, 1.0, 10))).outcome is Outcome.CRASHED


def test_streams_that_never_begin_are_a_stall_even_when_something_leaks() -> None:
    mute = [
        observation(i, {Key("fds"): 10.0 + 300 * i}, ledger={"stalls": 300, "events": 0}) for i in range(5)
    ]
    verdict = judge(trial([], observations=mute))
    assert verdict.outcome is Outcome.LEAKING
    assert Outcome.STALLED in verdict.also
    assert verdict.stalled is not None


def test_rate_limiting_is_named_and_never_healthy() -> None:
    limited = [observation(i, {Key("fds"): 10.0}, ledger={"rate_limited": 5}) for i in range(15)]
    verdict = judge(trial([], observations=limited))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "rate limited" in verdict.explanation


@pytest.mark.parametrize(
    ("field", "value", "outcome"),
    [
        ("infrastructure", "the swarm died", Outcome.INFRASTRUCTURE),
        ("interrupted", True, Outcome.INCONCLUSIVE),
        ("unready", "nothing listens", Outcome.UNREADY),
    ],
)
def test_what_broke_around_the_service_has_its_own_outcome(
    field: str, value: object, outcome: Outcome
) -> None:
    verdict = judge(replace(trial(STEADY), **{field: value}))  # type: ignore[arg-type]
    assert verdict.outcome is outcome


def test_memory_far_above_any_allocators_noise_is_a_leak_and_a_staircase_is_not() -> None:
    memory = Key("memory", "anonymous")
    steep = [10e6 + i * 300 * 51_000 for i in range(1, 8)]
    stairs = [10e6 + (i // 3) * 1_048_576 for i in range(1, 24)]
    assert judge(trial(steep, key=memory, warmup=(10e6,) * 3)).outcome is Outcome.LEAKING
    assert judge(trial(stairs, key=memory, warmup=(10e6,) * 3)).outcome is not Outcome.LEAKING


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=3, max_size=20), st.integers(0, 1000))
def test_a_constant_added_to_every_level_changes_no_outcome(levels: list[int], constant: int) -> None:
    plain = judge(trial([float(v) for v in levels]))
    moved = judge(trial([float(v + constant) for v in levels], warmup=(10 + constant,) * 3))
    assert plain.outcome is moved.outcome


def test_the_same_trial_gives_the_same_verdict() -> None:
    assert judge(trial([310, 610, 910])) == judge(trial([310, 610, 910]))
