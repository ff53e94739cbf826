"""The published schema accepts what every outcome writes, and refuses everything else."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import jsonschema
import pytest

from harness.core.budget import Budget
from harness.core.judge.trial import judge
from harness.core.record import About, ExitInfo, RunRecord, Trial
from harness.core.record_codec import dumps, from_dict, run_dict, to_dict
from harness.core.verdict import Outcome
from harness.report.schema import schema
from tests.core.series import observation, trial

STEADY = [10.0] * 12
MUTE = [observation(i, {}, ledger={"stalls": 300, "events": 0}) for i in range(5)]
TRIALS = {
    Outcome.BOUNDED: trial(STEADY),
    Outcome.LEAKING: trial([310, 610, 910]),
    Outcome.CRASHED: replace(trial([310, 610, 910]), exit=ExitInfo(-6, 12.5, 950, ("abort",))),
    Outcome.STALLED: trial([], observations=MUTE),
    Outcome.OVER_CEILING: trial(STEADY, budget=Budget(ceilings={"fds": 9})),
    Outcome.UNREADY: replace(trial(STEADY), unready="nothing listens"),
    Outcome.INCONCLUSIVE: trial([10, 10, 10]),
    Outcome.INFRASTRUCTURE: replace(trial(STEADY), infrastructure="the swarm died"),
}


def published(*trials: Trial) -> dict[str, object]:
    judged = tuple(replace(one, verdict=judge(one)) for one in trials)
    record = RunRecord("id", "harness guard", "2026-01-01T00:00:00+00:00", 0, judged)
    found: dict[str, object] = json.loads(dumps(run_dict(record)))
    return found


@cache
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_fits_the_schema(outcome: Outcome) -> None:
    data = published(TRIALS[outcome])
    assert data["outcome"] == outcome.value
    assert data["exit_code"] == outcome.exit_code
    validator().validate(data)


def test_growth_that_is_only_suspected_fits_too() -> None:
    grew = replace(trial([310, 610, 910]), retention=60.0)
    data = published(grew)
    assert [finding["status"] for finding in data["findings"]] == ["suspected"]  # type: ignore[attr-defined]
    validator().validate(data)


def test_several_trials_and_an_unjudged_one_fit_too() -> None:
    validator().validate(published(*TRIALS.values()))
    record = RunRecord("id", "x", "2026-01-01T00:00:00+00:00", 0, (TRIALS[Outcome.BOUNDED],))
    validator().validate(json.loads(dumps(run_dict(record))))


@pytest.mark.parametrize(
    ("key", "value"), [("outcome", "fine"), ("exit_code", 7), ("more", 1), ("findings", {})]
)
def test_invalid_values_are_refused_by_the_schema(key: str, value: object) -> None:
    assert not validator().is_valid({**published(TRIALS[Outcome.BOUNDED]), key: value})


ABOUT = About(mode="request", soak=True, last_lines=("a", "b"), claim="it leaks", peak_fds=7.0)


def test_a_record_of_an_earlier_version_keeps_what_it_recorded_of_its_trials() -> None:
    """What is ``about`` today was an open mapping named ``extra``; two of its fields had other names then."""
    today = RunRecord(
        "id", "harness soak", "2026-01-01T00:00:00+00:00", 1, (replace(trial([10.0]), about=ABOUT),)
    )
    old = to_dict(today)
    (one,) = old["trials"]
    del one["about"]
    one["extra"] = {
        "mode": "request",
        "soak": True,
        "last_words": ["a", "b"],
        "said": "it leaks",
        "peak_fds": 7.0,
        "unknown": [1],
    }
    assert from_dict(old) == from_dict(to_dict(today)) == today
    one["about"] = one.pop("extra")
    assert from_dict(old) == today
    del one["about"]
    assert from_dict(old).trials[0].about == About()
