"""A profile is confirmed only if outcome, return code, a line of its log and its events are as described."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.cycle import CycleSpec, Ledger, Observation
from harness.core.judge.trial import judge
from harness.core.record import About, ExitInfo, TargetInfo, Trial
from harness.experiment.reproduce import ProfileSpec, confirmed, describe, with_comparisons

REQUEST_SENT = "panic: ZMQError: Too many open files"


@pytest.fixture(scope="module")
def original() -> ProfileSpec:
    return describe()["original"]


def died(code: int, said: str, events: int = 9) -> Trial:
    seen = Observation(
        CycleSpec(0, 8, 8, 1.0), Ledger(opened=8, completed=8, events=events), {}, 0.0, 1.0, complete=False
    )
    trial = Trial(
        "original", TargetInfo(("service",), "http://127.0.0.1:1/", 1), Budget(), observations=(seen,)
    )
    trial = replace(trial, exit=ExitInfo(code, 1.0, 8, (said,)))
    return replace(trial, verdict=judge(trial))


def test_a_trial_with_every_sign_of_the_crash_is_confirmed(original: ProfileSpec) -> None:
    assert confirmed(died(2, REQUEST_SENT), original) == (True, "9 events arrived")


@pytest.mark.parametrize(
    ("trial", "why"),
    [
        (died(1, REQUEST_SENT), "expected return code 2, saw 1"),
        (died(-9, REQUEST_SENT), "expected return code 2, saw -9"),
        (died(2, "over and out"), "no line of its log matches Too many open files"),
        (died(2, REQUEST_SENT, events=0), "expected events to reach the clients, saw none"),
    ],
)
def test_a_missing_sign_of_the_crash_is_named(original: ProfileSpec, trial: Trial, why: str) -> None:
    assert confirmed(trial, original) == (False, why)


@pytest.mark.parametrize(
    ("code", "said", "good"),
    [
        (-6, "Assertion failed: ok (src/mailbox.cpp:72)", True),
        (-6, "Bad file descriptor (src/signaler.cpp:238)", True),
        (-6, "Fatal Python error: Aborted", True),
        (-6, "INFO:     Started server process [7]", False),
        (-11, "INFO:     Started server process [7]", True),
        (-9, "INFO:     Started server process [7]", False),
    ],
)
def test_an_abort_must_log_its_reason_and_a_fault_need_not(code: int, said: str, good: bool) -> None:
    assert confirmed(died(code, said, events=0), describe()["upstream"])[0] is good


def test_events_are_expected_forbidden_or_left_open(original: ProfileSpec) -> None:
    """The first event of only-shared-socket races with its crash: 1 of 5 runs saw one."""

    def fits(no_events: bool | None, events: int) -> bool:
        return confirmed(died(2, REQUEST_SENT, events), replace(original, no_events=no_events))[0]

    assert [fits(none, 0) for none in (False, True, None)] == [False, True, True]
    assert [fits(none, 9) for none in (False, True, None)] == [True, False, True]


def test_another_outcome_is_never_confirmed(original: ProfileSpec) -> None:
    lives = replace(died(2, REQUEST_SENT), exit=None)
    good, why = confirmed(replace(lives, verdict=judge(lives)), original)
    assert not good
    assert why.startswith("expected crashed, saw ")


def runs(name: str, seconds: list[float]) -> list[Trial]:
    """Crashed and confirmed trials of one profile."""
    crashed = died(-6, REQUEST_SENT)
    return [
        replace(
            crashed,
            exit=ExitInfo(-6, at, 16, (REQUEST_SENT,)),
            about=About(profile=name, confirmed=True, note="9 events arrived"),
        )
        for at in seconds
    ]


@pytest.mark.parametrize(
    ("later", "earlier", "note", "good"),
    [
        ([3.5], [2.1], "later than solution-1: not tested (1 run of each; --repeat 5 tests it)", True),
        (
            [3.4, 3.5, 3.6, 3.7, 3.5],
            [2.1, 2.0, 2.2, 2.1, 2.1],
            "later than solution-1: confirmed, 1.7 x the time",
            True,
        ),
        (
            [2.1, 2.0, 2.2, 2.1, 2.3],
            [2.1, 2.0, 2.2, 2.1, 2.1],
            "later than solution-1: not shown, 1 x the time",
            True,
        ),
        (
            [1.1, 1.0, 1.2, 1.1, 1.1],
            [2.1, 2.0, 2.2, 2.1, 2.1],
            "later than solution-1: refuted, 0.52 x",
            False,
        ),
    ],
)
def test_a_claim_that_compares_profiles_is_tested_over_repeats(
    later: list[float], earlier: list[float], note: str, good: bool
) -> None:
    compared = with_comparisons([*runs("solution-1", earlier), *runs("solution-2", later)])
    for trial in compared[len(earlier) :]:
        assert str(trial.about.note).startswith(f"9 events arrived; {note}")
        assert trial.about.confirmed is good
    assert all("later" not in str(trial.about.note) for trial in compared[: len(earlier)])
