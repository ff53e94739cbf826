"""Bounds that a budget requires: read from the file, reached by the plan, and missed with the time that they take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import from_arguments, load
from harness.core.budget import Budget, merge_budgets, shared
from harness.core.cycle import Phase
from harness.core.errors import ConfigError
from harness.core.judge.moments import moments
from harness.core.judge.required import unmet
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import RunRecord, Trial
from harness.core.record_codec import from_dict, to_dict
from harness.core.units import duration
from harness.core.verdict import Bound, Outcome
from tests.core.series import FDS, CycleSums, observation, play, trial

ANONYMOUS = Key("memory", "anonymous")
GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), max_seconds=120.0)


def flat(did: CycleSums) -> dict[Key, float]:
    return {FDS: 10.0, ANONYMOUS: 20e6}


def required(**lines: str | list[str]) -> Budget:
    return from_arguments({"require": lines}, "the test")


def answered(seen: Trial) -> int:
    return sum(o.ledger.opened for o in seen.observations)


def test_a_requirement_is_read_per_stream_and_per_hour() -> None:
    found = required(memory=["1 KiB/stream", "1 MiB/hour"], fds="1/1000 streams", threads="2/hour")
    assert found.require_stream == {"memory/anonymous": 1024.0, "fds": 0.001}
    assert found.require_hour == {"memory/anonymous": float(1 << 20), "threads": 2.0}


def test_a_stream_is_a_connection_where_growth_is_granted() -> None:
    found = from_arguments({"fds": "1/1000 streams", "memory": "1 KiB/answered stream"}, "the test")
    assert found.growth == {"fds": 0.001, "memory": 1024.0}


def test_endpoint_and_profile_have_requirements_of_their_own_and_the_strictest_is_shared() -> None:
    loose, strict = required(fds="1/100 streams", threads="1/hour"), required(fds="1/1000 streams")
    assert merge_budgets(loose, strict).require_stream == {"fds": 0.001}
    assert merge_budgets(loose, strict).require_hour == {"threads": 1.0}
    assert shared((loose, strict)).require_stream == {"fds": 0.001}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('fds = "1/event"', "per event: expected a bound per stream or per hour"),
        ('fds = "1/connected hour"', "per connected hour: expected a bound per stream or per hour"),
        ('fds = "0/stream"', "an amount above 0"),
        ('fdss = "1/stream"', "metric 'fdss': expected .* did you mean 'fds'"),
        ('fds = "1 KiB/stream"', "1 KiB.*expected a number"),
        ('fds = "1/steam"', "per 'steam'; expected per .*connection"),
        ("fds = 1", "fds = 1: expected an amount"),
        ('fds = ["1/stream", "2/connection"]', "two required bounds per connection"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text(f"[budget.require]\n{line}\n")
    with pytest.raises(ConfigError, match=rf"budgets\.toml, line 2: .*{words}"):
        load(file)


def test_require_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text('[budget]\nrequire = "1/stream"\n')
    with pytest.raises(ConfigError, match=r"line 2: .*expected a table: \[budget\.require\]"):
        load(file)


def test_a_run_keeps_its_requirements() -> None:
    seen, _ = play(flat, GOAL, budget=required(fds="1/stream"))
    record = RunRecord("run", "harness guard", "2026-11-29T00:00:00Z", 0, (seen,))
    assert from_dict(to_dict(record)).trials[0].budget.require_stream == {"fds": 1.0}


def test_the_plan_continues_until_a_bound_per_stream_is_reached() -> None:
    usual, _ = play(flat, GOAL)
    longer, reason = play(flat, GOAL, budget=required(fds="1/8000 streams"))
    assert judge(usual).outcome is judge(longer).outcome is Outcome.BOUNDED
    assert "no count grew" in reason
    assert answered(longer) > 1.5 * answered(usual)
    bound = next(b for b in judge(longer).bounds if b.unit == "fds/answered-stream")
    assert bound.at_most <= 1 / 8000


def test_the_plan_continues_until_a_bound_per_hour_is_reached() -> None:
    goal = replace(GOAL, max_seconds=600.0)
    usual, _ = play(flat, goal)
    longer, reason = play(flat, goal, budget=required(fds="30/hour"))  # 3 / (30 per hour) is 6 minutes
    assert usual.ended < 120 < 360 < longer.ended < 500
    assert "no count grew" in reason
    assert judge(longer).outcome is Outcome.BOUNDED
    idle = [o for o in longer.observations if o.spec.phase is Phase.IDLE]
    assert sum(o.spec.dwell for o in idle) > 240, "time is what it takes, so most of it is spent without load"


def test_load_cycles_that_are_used_up_do_not_end_the_wait_for_a_bound_per_hour() -> None:
    goal = replace(GOAL, max_seconds=600.0, cycles=6)
    seen, _ = play(flat, goal, budget=required(fds="30/hour"))
    assert judge(seen).outcome is Outcome.BOUNDED


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1/50000 streams", r"fds: the bound is [\d.e-]+ per stream, the budget requires 2e-05"),
        ("20/hour", r"fds: the bound is [\d.]+ per hour, the budget requires 20"),
    ],
)
def test_a_bound_that_is_too_weak_is_no_pass_and_states_how_long_it_takes(line: str, words: str) -> None:
    seen, _ = play(flat, GOAL, budget=required(fds=line))
    verdict = judge(seen)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert re.search(words, verdict.explanation)
    advised = re.search(r"--max-time (\w+), if nothing grows meanwhile", verdict.advice)
    assert advised
    needed = duration("", advised[1])
    assert seen.ended > 60, "the time that is left is spent on it"
    again, _ = play(
        flat, replace(GOAL, max_seconds=needed, cycles=1000), limit=2000, budget=required(fds=line)
    )
    assert judge(again).outcome is Outcome.BOUNDED, "the time that it names is enough"
    assert again.ended > needed / 4, "and not far too much"


def test_the_memory_requirement_is_about_anonymous_memory() -> None:
    weak = judge(play(flat, GOAL, budget=required(memory="1 MiB/hour"))[0])
    assert weak.outcome is Outcome.INCONCLUSIVE
    assert re.search(
        r"memory/anonymous: the bound is [\d.]+ MB per hour, the budget requires 1.05 MB", weak.explanation
    )
    assert judge(play(flat, GOAL, budget=required(memory="1 KiB/stream"))[0]).outcome is Outcome.BOUNDED


def test_a_count_that_was_not_read_has_no_bound() -> None:
    verdict = judge(play(flat, GOAL, budget=required(tasks="1/stream"))[0])
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "tasks was not read, and the budget requires a bound of 1 per stream" in verdict.explanation
    assert "docs/runtime.md" in verdict.advice


def test_a_class_that_never_occurred_is_bounded_with_its_total() -> None:
    budget = from_arguments({"require": {"fds/eventfd": "1/100 streams"}}, "the test")
    assert judge(play(flat, GOAL, budget=budget)[0]).outcome is Outcome.BOUNDED


def test_a_metric_without_a_total_is_required_of_each_of_its_kinds() -> None:
    def kinds(did: CycleSums) -> dict[Key, float]:
        return {**flat(did), Key("tasks", "asyncio-task"): 3.0}

    assert judge(play(kinds, GOAL, budget=required(tasks="1/100 streams"))[0]).outcome is Outcome.BOUNDED
    verdict = judge(play(kinds, GOAL, budget=required(tasks="1/hour"))[0])
    assert "tasks/asyncio-task: the bound is" in verdict.explanation


def test_every_other_bound_that_is_missed_is_a_warning() -> None:
    verdict = judge(play(flat, GOAL, budget=required(fds="1/hour", memory="1 MiB/hour"))[0])
    assert "fds: the bound is" in verdict.explanation, "it takes longest"
    assert any(warning.startswith("memory/anonymous: the bound is") for warning in verdict.warnings)


def test_a_leak_is_a_leak_whatever_is_required() -> None:
    seen, _ = play(lambda did: {FDS: 10.0 + did.connections}, GOAL, budget=required(threads="1/hour"))
    verdict = judge(seen)
    assert verdict.outcome is Outcome.LEAKING
    assert not any("requires" in warning for warning in verdict.warnings)


def seen_for(levels: dict[Key, float], *, opened: int = 300, cycles: int = 5) -> Trial:
    """Two cycles of warm-up and some more of 3 s each, at the same levels."""
    phases = [Phase.WARMUP] * 2 + [Phase.LOAD] * cycles
    seen = [observation(n, levels, phase=phase, opened=opened) for n, phase in enumerate(phases)]
    return trial([], observations=seen)


@pytest.mark.parametrize(
    ("key", "per", "at_most", "required", "seconds"),
    [
        # Of a count the quiet streams are those since its last growth: 3 ÷ 0.01 of 1,500, at 100 a second.
        (FDS, "stream", 0.01, 0.005, 300 * (0.01 / 0.005 - 1) / 100),
        (FDS, "stream", 0.001, 0.0005, 1500 * (2 - 1) / 100),  # no more than were answered
        # Bytes have noise of their own: all streams count.
        (ANONYMOUS, "stream", 0.01, 0.005, 1500 * (2 - 1) / 100),
        (Key("memory", "heap-bytes"), "stream", 0.01, 0.005, 1500 * (2 - 1) / 100),
        (FDS, "hour", 3.0, 1.0, 3600 * (3 - 1)), (FDS, "hour", 3600.0, 1800.0, 15 * (2 - 1)),
        (ANONYMOUS, "hour", 3.0, 1.0, 15 * (3 - 1)),
    ],
)  # fmt: skip
def test_a_bound_takes_the_longer_the_weaker_it_is(
    key: Key, per: str, at_most: float, required: float, seconds: float
) -> None:
    now = seen_for({FDS: 10.0, ANONYMOUS: 2e7, Key("memory", "heap-bytes"): 1e6})
    table = {str(key): required}
    budget = Budget(require_stream=table) if per == "stream" else Budget(require_hour=table)
    unit = f"{key.unit}/answered-stream" if per == "stream" else f"{key.unit}/hour"
    bound = Bound(key.metric, key.kind, "bounded", at_most, unit)
    (one,) = unmet(replace(now, budget=budget), moments(now), [bound])
    assert (one.key, one.per, one.required, one.reached) == (key, per, required, at_most)
    assert one.seconds == pytest.approx(seconds)
    assert unmet(replace(now, budget=budget), moments(now), [replace(bound, at_most=required)]) == []


def test_without_a_stream_a_bound_takes_as_long_again() -> None:
    now = replace(seen_for({FDS: 10.0}, opened=0), budget=Budget(require_stream={"fds": 0.001, "tasks": 1.0}))
    first, second = unmet(now, moments(now), [Bound("fds", "", "bounded", 0.01, "fds/answered-stream")])
    assert (first.key, first.seconds) == (FDS, 21.0)
    assert (second.key, second.reached, second.seconds) == (Key("tasks"), None, None)
