"""The metrics in the history's entry of a run."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import pytest

from harness.core.history import (
    digest_of,
    entry_of,
    measured,
    rate_of_run,
    target_name,
    trial_entry,
    worst_outcome,
)
from harness.core.judge.moments import moments, series
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import About, Places, Restart, RunRecord, Trial
from harness.core.record_codec import to_dict
from harness.core.verdict import Outcome, Verdict
from tests.core.series import observation, trial


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


LEAKING = trial([310, 610, 910])


def judged(one: Trial, **more: object) -> Trial:
    one = replace(one, **more)  # type: ignore[arg-type]
    return replace(one, verdict=one.verdict or judge(one))


def record(*trials: Trial, **more: object) -> RunRecord:
    made = RunRecord("run", "harness soak", "2026-01-01T00:00:00+00:00", 7, trials, harness_version="0.3.0")
    return replace(made, **more)  # type: ignore[arg-type]


def test_a_run_that_is_judged_or_described_again_keeps_its_digest_and_another_has_another() -> None:
    digest = digest_of(record(LEAKING))
    assert re.fullmatch("[0-9a-f]{64}", digest)
    again = (
        judged(LEAKING), replace(LEAKING, about=About(note="x")), replace(LEAKING, places=Places(more=3)),
        replace(LEAKING, verdict=Verdict(Outcome.BOUNDED, "x")),
    )  # fmt: skip
    assert {digest_of(record(one)) for one in again} == {digest}
    others = (
        record(replace(LEAKING, name="b")), record(LEAKING, LEAKING), record(LEAKING, run_id="other"),
        record(replace(LEAKING, restarts=(Restart(1, 2.0, 3.0),))), record(replace(LEAKING, ended=7.0)),
    )  # fmt: skip
    assert len({digest, *map(digest_of, others)}) == 6


def test_a_record_without_restarts_has_the_digest_from_before_restarts_existed() -> None:
    data = to_dict(record(LEAKING))
    for name in ("verdict", "places", "notes", "about", "restarts"):
        data["trials"][0].pop(name)
    text = json.dumps(data, sort_keys=True)
    assert digest_of(record(LEAKING)) == hashlib.sha256(text.encode()).hexdigest()


def test_an_entry_has_what_is_known_of_the_run() -> None:
    machine = {
        "kernel": "6.1", "machine_class": "x", "commit": "abc", "branch": "main", "ci_job": 7, "dirty": True,
    }  # fmt: skip
    good = judged(trial([10.0] * 12), name="good")
    found = entry_of(record(good, judged(LEAKING), LEAKING, machine=machine), path="reports/x", target="shop")
    assert (found.run_id, found.command, found.started_at, found.harness_version, found.path) == (
        "run", "harness soak", "2026-01-01T00:00:00+00:00", "0.3.0", "reports/x")  # fmt: skip
    assert (found.kernel, found.machine_class, found.commit, found.branch, found.ci_job, found.dirty) == (
        "6.1", "x", "abc", "main", "7", True)  # fmt: skip
    assert (found.outcome, found.exit_code) == ("leaking", 1)
    assert [(one.name, one.target, one.outcome) for one in found.trials] == [
        ("good", "shop", "bounded"), ("scripted", "shop", "leaking")]  # fmt: skip
    bare = entry_of(record(machine={"dirty": "yes", "kernel": None}))
    assert (bare.dirty, bare.kernel, bare.commit, bare.path, bare.trials) == (None, "", "", "", ())
    assert (bare.outcome, bare.exit_code) == ("inconclusive", 3)


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [
        (("bounded", "inconclusive"), "inconclusive"), (("inconclusive", "infrastructure"), "infrastructure"),
        (("infrastructure", "unready"), "unready"), (("leaking", "crashed", "stalled"), "crashed"),
        (("over-ceiling", "stalled"), "stalled"), (("bounded", "bounded"), "bounded"), ((), "inconclusive"),
    ],
)  # fmt: skip
def test_the_worst_outcome_is_the_service_s_fault_then_the_harness_s(
    outcomes: tuple[str, ...], worst: str
) -> None:
    assert worst_outcome(map(Outcome, outcomes)).value == worst


@pytest.mark.parametrize(
    ("command", "url", "name"),
    [
        (("python3.11", "app.py", "--port", "80"), "http://127.0.0.1:1/events?x=1", "app.py /events"),
        (("/usr/bin/env", "/srv/bin/shop"), "http://127.0.0.1:1/", "shop /"),
        (("node",), "http://127.0.0.1:1/a/b", "node /a/b"),
        (("-m",), "http://127.0.0.1:1/a", "service /a"), (None, "http://user:pw@shop:8000/a?b", "shop:8000 /a"),
        (("uvicorn", "app:main"), "http://h/x", "app:main /x"),
    ],
)  # fmt: skip
def test_a_target_is_named_by_its_program_and_path(
    command: tuple[str, ...] | None, url: str, name: str
) -> None:
    assert target_name(replace(LEAKING, target=replace(LEAKING.target, command=command, url=url))) == name


def test_a_trial_is_of_its_profile_mode_and_load() -> None:
    one = judged(
        LEAKING, started=2.0, about=About(load="300 connections", runtime_version="3.11", budget_profile="ci")
    )
    found = trial_entry(one, None)
    assert (found.profile, found.mode, found.load, found.runtime_version) == (
        "ci",
        "stream",
        "300 connections",
        "3.11",
    )
    assert (found.connections, found.seconds, found.sensitivity) == (1800, 98.0, 1e-3)
    assert found.target == "service /"
    reference = trial_entry(replace(one, about=About(profile="fixed", mode="request")), None)
    assert (reference.target, reference.profile, reference.mode) == ("reference-service", "fixed", "request")
    empty = trial_entry(replace(one, observations=(), started=200.0), "x")
    assert (empty.mode, empty.seconds, empty.connections, empty.target) == ("", 0.0, 0, "x")
    (fds,) = found.metrics
    assert (fds.metric, fds.kind, fds.status, fds.driver, fds.at_most) == (
        "fds",
        "",
        "leaking",
        "connection",
        None,
    )
    assert fds.low <= 1.0 <= fds.high


def test_a_rate_with_noise_needs_three_loads() -> None:
    key = Key("memory", "anonymous")

    def read(levels: list[float]) -> object:
        seen = [observation(n, {key: level}) for n, level in enumerate(levels)]
        one = series(moments(trial([], observations=seen)), key)
        assert one
        return rate_of_run(one)

    assert read([0.0, 300.0, 600.0]) is None
    assert read([0.0, 300.0, 600.0, 900.0]) == pytest.approx((1.0, 1.0, 1.0))
