"""A run as plain values: it is read back unchanged, and the same run gives the same text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.cycle import Ledger
from harness.core.errors import ConfigError
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import SCHEMA_VERSION, RunRecord, Trial
from harness.core.record_codec import (
    NOT_JUDGED,
    PART_BYTES,
    dumps,
    from_dict,
    parts,
    result_dict,
    run_dict,
    to_dict,
)
from harness.core.verdict import Crash, Outcome, Verdict
from tests.core.series import FDS, observation, trial

LEAKING = trial([310, 610, 910])


def record(*trials: Trial, **more: object) -> RunRecord:
    return replace(
        RunRecord("run", "harness guard", "2026-01-01T00:00:00+00:00", 7, tuple(trials)),
        **more,  # type: ignore[arg-type]
    )


def judged(one: Trial, **more: object) -> Trial:
    one = replace(one, **more)  # type: ignore[arg-type]
    return replace(one, verdict=judge(one))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None), (True, True), (3, 3), (2.5, 2.5), (math.inf, "Infinity"), (-math.inf, "-Infinity"),
        (math.nan, "NaN"), ("text", "text"), (b"ab", "b'ab'"), ({1: math.inf}, {"1": "Infinity"}),
        ((1, {"a": (2,)}), [1, {"a": [2]}]), (Path("/srv"), "/srv"),
    ],
)  # fmt: skip
def test_facts_of_a_machine_become_json_whatever_they_are(value: object, plain: object) -> None:
    assert to_dict(record(machine={"it": value}))["machine"] == {"it": plain}


def test_every_number_that_json_lacks_is_read_back() -> None:
    ledger = Ledger(opened=3, statuses={503: 2, 200: 1}, causes={"reset": 1}, first_event_p50=None)
    limits = {"RLIMIT_NOFILE": math.inf, "pids.max": 7}
    one = trial([], observations=[replace(observation(0, {FDS: 3.0, Key("fds", "pipe"): 1}), ledger=ledger)])
    made = record(judged(replace(one, target=replace(one.target, limits=limits))))
    plain = to_dict(made)
    (saved,) = plain["trials"]
    assert saved["target"]["limits"] == {"RLIMIT_NOFILE": "Infinity", "pids.max": 7.0}
    assert isinstance(saved["target"]["limits"]["pids.max"], float)
    assert saved["observations"][0]["ledger"]["statuses"] == {"503": 2, "200": 1}
    assert saved["observations"][0]["levels"] == {"fds": 3.0, "fds/pipe": 1.0}
    assert from_dict(json.loads(dumps(plain))) == made


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "a run record is a JSON object; got a list"),
        ({}, f"schema_version None: expected a whole number from 1 to {SCHEMA_VERSION}"),
        ({"schema_version": True}, "schema_version True: expected a whole number"),
        ({"schema_version": 0}, "schema_version 0: expected a whole number"),
        ({"schema_version": "1"}, "schema_version '1': expected a whole number"),
        ({"schema_version": SCHEMA_VERSION + 1}, f"reads records up to {SCHEMA_VERSION}; use the version"),
        ({"schema_version": 1}, "not a run record: required field missing @ record.run_id"),
        ({"schema_version": 1, "trials": [3]}, "not a run record: "),
        ({"schema_version": 1, "trials": 3}, "not a run record: "),
    ],
)
def test_data_that_is_no_record_is_one_clear_error(data: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_dict(data)
    assert words in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": "x"}, "invalid literal for int() with base 10: 'x' @ record.seed"),
        ({"trials": [{"name": "a", "target": 3, "budget": {}, "started": []}]}, "@ record.trials[0]."),
    ],
)
def test_a_wrong_value_is_reported_with_its_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match="not a run record: ") as error:
        from_dict(to_dict(record()) | change)
    assert words in str(error.value)


def test_text_is_sorted_ascii_and_compact_or_indented() -> None:
    assert dumps({"b": 1, "a": ["é"]}) == '{"a":["\\u00e9"],"b":1}'
    assert dumps({"b": 1, "a": 2}, indent=1) == '{\n "a": 2,\n "b": 1\n}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": math.nan})


def test_pieces_are_the_same_text_and_none_is_much_larger_than_a_part() -> None:
    data = {"b": list(range(60_000)), "a": "é"}
    pieces = list(parts(data, indent=2))
    assert b"".join(pieces).decode() == dumps(data, indent=2)
    assert len(pieces) == sum(map(len, pieces)) // PART_BYTES + 1
    assert all(PART_BYTES <= len(piece) < PART_BYTES + 100 for piece in pieces[:-1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        list(parts({"a": math.inf}, indent=1))


def test_a_result_has_what_was_measured() -> None:
    seen = [
        observation(0, {FDS: 1.0}, ledger={"failed": 2, "events": 7}),
        observation(1, {FDS: 1.0}, ledger={"failed": 1, "events": 9}),
    ]
    found = result_dict(trial([], observations=seen, started=1.5), run_id="run")
    assert found["measured"] == {"cycles": 2, "connections": 600, "failed": 3, "events": 16, "seconds": 98.5}
    assert (found["run_id"], found["trial"], found["schema_version"]) == ("run", "scripted", SCHEMA_VERSION)
    assert (found["outcome"], found["exit_code"], found["explanation"]) == (
        NOT_JUDGED.outcome.value, 3, NOT_JUDGED.explanation)  # fmt: skip
    assert found["target"]["url"] == "http://127.0.0.1:1/"
    assert result_dict(trial([], started=200.0))["measured"]["seconds"] == 0.0
    assert result_dict(trial([]))["run_id"] is None


CRASHED = Verdict(
    Outcome.CRASHED, "it crashed", crash=Crash(1, None, None, None, 1.0, 1), advice="look", also=(Outcome.LEAKING,),
    warnings=("slow",), stalled="mute",
)  # fmt: skip


def test_of_several_trials_the_worst_decides_and_each_finding_names_its_own() -> None:
    good, bad, crashed = (
        judged(replace(trial([10.0] * 12), name="good")), judged(replace(LEAKING, name="bad")),
        replace(LEAKING, name="worst", verdict=CRASHED))  # fmt: skip
    found = run_dict(record(good, bad, crashed))
    top = {
        "trial": "worst", "outcome": "crashed", "exit_code": 1, "explanation": "it crashed", "advice": "look",
        "stalled": "mute", "also": ["leaking"],
    }  # fmt: skip
    assert {name: found[name] for name in top} == top
    assert found["crash"]["returncode"] == 1
    assert found["warnings"] == ["worst: slow"]
    assert [(one["trial"], one["metric"]) for one in found["findings"]] == [("bad", "fds")]
    assert {one["trial"] for one in found["bounds"]} == {"good"}
    assert [one["trial"] for one in found["results"]] == ["good", "bad", "worst"]
    assert {one["run_id"] for one in found["results"]} == {"run"}
    assert from_dict(found) == record(good, bad, crashed)


def test_one_trial_is_its_own_result_and_no_trial_is_reported() -> None:
    found = run_dict(record(judged(LEAKING)))
    assert {name: found[name] for name in found["results"][0]} == found["results"][0]
    none = run_dict(record())
    top = {
        "trial": None, "outcome": "inconclusive", "exit_code": 3, "explanation": "no trial was run", "advice": "",
        "crash": None, "also": [], "stalled": None, "warnings": [], "findings": [], "bounds": [], "results": [],
    }  # fmt: skip
    assert {name: none[name] for name in top} == top


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (("bounded", "leaking"), 1), (("infrastructure", "inconclusive"), 4), (("inconclusive", "bounded"), 3),
        (("bounded", "bounded"), 0), (("infrastructure", "unready"), 1),
    ],
)  # fmt: skip
def test_the_exit_code_of_several_is_the_service_s_before_the_harness_s_before_doubt(
    outcomes: tuple[str, ...], code: int
) -> None:
    made = [
        replace(LEAKING, name=f"{n}", verdict=Verdict(Outcome(one), "")) for n, one in enumerate(outcomes)
    ]
    assert run_dict(record(*made))["exit_code"] == code


def test_a_record_begins_without_trials() -> None:
    empty = RunRecord("run", "harness guard", "2026-01-01T00:00:00+00:00", 7)
    assert empty == record()
    assert from_dict(to_dict(empty)) == empty
