"""Warnings beside the verdict."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from harness.core.judge.assessed import Assessed
from harness.core.judge.caveat import caveat_of, connections_per_second, ledger_total
from harness.core.judge.findings import leaks
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import About
from harness.core.verdict import Bound, Outcome, Verdict
from tests.core.series import observation, trial


def test_a_replaced_worker_is_reported_and_never_taken_for_a_fix() -> None:
    steady = trial([10.0] * 12)
    cycle = replace(steady.observations[4], events=("pid 12 (worker) ended",))
    changed = replace(steady, observations=(*steady.observations[:4], cycle, *steady.observations[5:]))
    assert not any("started or exited" in warning for warning in judge(steady).warnings)
    (warning,) = [warning for warning in judge(changed).warnings if "started or exited" in warning]
    assert "pid 12 (worker) ended" in warning


def test_a_verdict_that_rests_on_a_saturated_generator_warns() -> None:
    steady = trial([10.0] * 12)
    busy = replace(steady.observations[4], ledger=replace(steady.observations[4].ledger, saturated=True))
    changed = replace(steady, observations=(*steady.observations[:4], busy, *steady.observations[5:]))
    assert not any("bottleneck" in warning for warning in judge(steady).warnings)
    assert any("bottleneck" in warning for warning in judge(changed).warnings)


def failing(failed: int, *, of: int = 300, cause: str = "reset") -> Verdict:
    """The verdict on a flat service, of whose streams this many failed in every cycle."""
    steady = trial([10.0] * 32)
    seen = [
        replace(one, ledger=replace(one.ledger, opened=of, failed=failed, causes={cause: failed}))
        for one in steady.observations
    ]
    return judge(replace(steady, observations=tuple(seen)))


def test_a_warning_needs_more_than_half_of_the_streams_to_fail() -> None:
    assert failing(150).outcome is Outcome.BOUNDED
    doubtful = failing(151)
    assert doubtful.outcome is Outcome.INCONCLUSIVE
    text = f"{35 * 151:,} of 10,500 streams failed: {35 * 151:,} reset"
    assert text in doubtful.explanation
    assert text not in doubtful.warnings, "the explanation has it"


def test_a_service_that_answers_none_at_last_is_distinguished_from_one_that_sometimes_fails() -> None:
    steady = trial([10.0] * 4)
    causes = {"status-503": 300}
    limited = [
        replace(one, ledger=replace(one.ledger, failed=300, causes=causes, events=events))
        for one, events in zip(steady.observations, (50, *[0] * 9), strict=False)
    ]
    changed = judge(replace(steady, observations=tuple(limited)))
    assert changed.explanation.endswith("; none of the last 300 streams was answered")
    assert not changed.warnings, "the explanation has them"
    assert "none of the last" not in failing(299, cause="status-503").explanation


@pytest.mark.parametrize(
    ("failed", "cause", "advice"),
    [
        (300, "reset", "request the URL yourself"),
        (
            299,
            "reset",
            "the service's log for why streams fail after others were answered; reduce --concurrency",
        ),
        (299, "status-503", "why it answers 503; reduce --concurrency"),
        (299, "status-503", "if this status is intended, pass --expect 503"),
    ],
)
def test_the_step_for_failing_streams_names_what_can_be_observed(
    failed: int, cause: str, advice: str
) -> None:
    """A service that answered its first 250 streams with 200 and then 503: opened by hand, its URL works."""
    assert advice in failing(failed, cause=cause).advice


def test_one_failed_stream_is_a_warning_with_its_cause() -> None:
    assert not any("failed" in warning for warning in failing(0).warnings)
    assert "35 of 10,500 streams failed: 35 reset" in failing(1).warnings


def test_one_refused_stream_is_named_in_the_advice() -> None:
    steady = trial([10.0] * 12)
    limited = replace(steady.observations[4], ledger=replace(steady.observations[4].ledger, rate_limited=1))
    verdict = judge(
        replace(steady, observations=(*steady.observations[:4], limited, *steady.observations[5:]))
    )
    assert verdict.outcome is Outcome.BOUNDED
    assert "--source-addresses" in verdict.advice
    assert "1 stream got status 429 or 503" in " ".join(verdict.warnings)


def test_an_interrupted_run_is_a_doubt_whatever_it_measured() -> None:
    verdict = judge(replace(trial([10.0] * 12), interrupted=True))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "the run was interrupted" in verdict.explanation


def test_an_interrupted_soak_is_continued_and_its_cancelled_streams_are_no_failures() -> None:
    soak = trial([10.0] * 12, about=About(soak=True))
    stopped = replace(soak.observations[4].ledger, failed=50, causes={"cancelled": 49, "reset": 1})
    cut = replace(soak.observations[4], ledger=stopped)
    verdict = judge(
        replace(soak, observations=(*soak.observations[:4], cut, *soak.observations[5:]), interrupted=True)
    )
    assert "harness soak --resume" in verdict.advice
    assert [text for text in verdict.warnings if "failed" in text] == ["1 of 4,500 streams failed: 1 reset"]


@pytest.mark.parametrize(("moving", "doubted"), [(7, False), (8, True)])
def test_half_of_the_cycles_unsettled_is_a_doubt(moving: int, doubted: bool) -> None:
    steady = trial([10.0] * 12)  # with its warm-up: 15 cycles
    cycles = [replace(one, settled=False, unsettled="threads") for one in steady.observations[-moving:]]
    verdict = judge(replace(steady, observations=(*steady.observations[:-moving], *cycles)))
    assert ("never settled (threads moved)" in verdict.explanation) is doubted
    assert any("cycles that never settled" in warning for warning in verdict.warnings)


def test_a_cycle_that_was_cut_short_does_not_count_as_never_settled() -> None:
    steady = trial([10.0] * 12)
    cycles = [replace(one, settled=False, complete=False) for one in steady.observations]
    verdict = judge(replace(steady, observations=tuple(cycles)))
    assert "never settled" not in verdict.explanation
    assert not any("never settled" in warning for warning in verdict.warnings)


def test_the_totals_are_sums_over_all_cycles() -> None:
    seen = [
        observation(index, {}, opened=300, ledger={"failed": index, "causes": {"reset": index, "eof": 1}})
        for index in (1, 2)
    ]
    total = ledger_total(trial([], observations=seen))
    assert (total.opened, total.completed, total.failed, total.events) == (600, 600, 3, 600)
    assert (total.seconds, total.causes) == (2.0, {"reset": 3, "eof": 2})
    assert connections_per_second(trial([], observations=seen)) == 300.0
    assert connections_per_second(trial([], observations=[])) is None


ANONYMOUS, IDLE_CPU = Key("memory", "anonymous"), Key("idle-cpu")


def with_levels(key: Key, levels: list[float], opened: int) -> Verdict:
    """The verdict on a service with flat descriptors and these levels, after three cycles of warm-up."""
    steady = trial([10.0] * len(levels), opened=opened)
    first, rest = steady.observations[:3], steady.observations[3:]
    seen = [replace(one, levels={**one.levels, key: levels[0]}) for one in first]
    seen += [replace(one, levels={**one.levels, key: level}) for one, level in zip(rest, levels, strict=True)]
    return judge(replace(steady, observations=tuple(seen)))


def bound_of(verdict: Verdict, key: Key) -> Bound:
    """Its bound per answered stream."""
    (found,) = (
        one
        for one in verdict.bounds
        if (one.metric, one.kind) == (key.metric, key.kind) and one.unit.endswith("/answered-stream")
    )
    return found


@pytest.mark.parametrize(
    ("key", "levels", "opened"),
    [
        (ANONYMOUS, [20e6 + 3e6 * n for n in range(8)], 2048),
        (IDLE_CPU, [0.002 + 0.01 * n for n in range(6)], 700),
    ],
)
def test_undecided_growth_is_no_pass_and_states_how_long_it_takes(
    key: Key, levels: list[float], opened: int
) -> None:
    verdict = with_levels(key, levels, opened)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.explanation.startswith(f"{key}: ")
    assert "allow more time: --max-time" in verdict.advice


@pytest.mark.parametrize(
    ("key", "levels", "opened"),
    [(ANONYMOUS, [20e6] * 5, 800), (IDLE_CPU, [0.02, 0.06, 0.03, 0.05, 0.02, 0.04], 700)],
)
def test_undecided_without_growth_is_a_pass_that_lists_its_weak_bound(
    key: Key, levels: list[float], opened: int
) -> None:
    verdict = with_levels(key, levels, opened)
    assert verdict.outcome is Outcome.BOUNDED, verdict.explain()
    weak = bound_of(verdict, key)
    assert weak.status == "undecided", "observed is what decides nothing, and is not printed"
    assert weak.at_most > 0


@pytest.mark.parametrize(("cause", "grows", "named"), [("objects", True, False), ("objects", False, True)])
def test_a_suspected_consequence_is_not_named_before_its_undecided_cause(
    cause: str, grows: bool, named: bool
) -> None:
    """An emitter's listeners in a Node: the objects could still be a cache, and what follows from them was the
    headline."""
    busy, objects = Key("idle-cpu"), Key("memory", cause)
    results = {
        Key("fds"): Assessed("bounded", 1e-4, "", 0.0, 3000.0),
        busy: Assessed("suspected", 1.0, "grew", 98.0, 3000.0, rate=0.03, low=0.03, high=0.04, growing=True),
        objects: Assessed("undecided", 1.0, "rose; a cache would too", 1e5, 3000.0, growing=grows),
    }
    steady = trial([10.0] * 12, retention=60.0)
    doubt = caveat_of(steady, results)
    assert doubt is not None
    assert ("suspected" in doubt.why) is named
    assert ("a cache would too" in doubt.why) is not named
    assert [one.metric for one in leaks(steady, moments(steady), results)] == (["idle-cpu"] if named else [])


@pytest.mark.parametrize(
    ("at_most", "advice"),
    [
        (math.inf, "allow more time: --max-time 3m; or look only for larger leaks: --sensitivity 1/100"),
        (0.0042, "allow more time: --max-time 5m; or look only for larger leaks: --sensitivity 0.005"),
        (
            20.0,
            "allow more time: --max-time 367h; or open more streams in it: --connections, --concurrency",
        ),
        (
            0.99,
            "allow more time: --max-time 19h; or open more streams in it: --connections, --concurrency",
        ),
    ],
)
def test_a_bound_that_is_too_weak_states_how_long_it_takes(at_most: float, advice: str) -> None:
    """It named --max-time and --connections without a time, and --sensitivity 2e+01, which is no leak at all."""
    results = {Key("fds"): Assessed("undecided", at_most, "few streams")}
    steady = trial([10.0] * 19)
    found = caveat_of(steady, results)
    assert found is not None
    assert found.advice == advice


def test_a_bound_of_days_is_preceded_by_what_can_be_had() -> None:
    slow = trial([10.0] * 19, sensitivity=1e-6)
    found = caveat_of(slow, {Key("fds"): Assessed("undecided", 0.0021, "few streams")})
    assert found is not None
    assert found.advice.startswith(
        "look only for larger leaks: --sensitivity 0.003; the bound that was asked"
    )
    assert re.search(r"--max-time \d+h$", found.advice)


def test_a_run_without_two_cycles_states_how_long_they_take() -> None:
    found = caveat_of(trial([10.0]), {})
    assert found is not None
    assert found.why == "no two cycles were completed and read"
    assert "--max-time" in found.advice


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        # It was "zombie processes: no growth", of 40 metrics with the same bound.
        ({"processes": 0.007, "processes/zombie": 0.007, "fds": 0.007, "threads": 0.007}, "fds"),
        ({"processes": 0.007, "processes/zombie": 0.007, "fds": 0.004}, "processes"),
        ({"processes": 0.002, "threads": 0.007, "fds": 0.002}, "threads"),
        ({"processes": 0.007, "threads": 0.002, "fds": 0.006}, "processes"),
    ],
)
def test_the_weakest_bound_decides_the_time(bounds: dict[str, float], named: str) -> None:
    results = {
        Key.parse(name): Assessed("undecided", at_most, "few streams") for name, at_most in bounds.items()
    }
    found = caveat_of(trial([10.0] * 19), results)
    assert found is not None
    assert found.why == f"{named}: few streams"
    assert "--max-time 8m" in found.advice
