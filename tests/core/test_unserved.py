"""A running service that stopped serving under a load: when it is asked again, and what the verdict says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.core import design
from harness.core.cycle import CycleSpec, Observation, Phase
from harness.core.judge.assessed import Assessed
from harness.core.judge.trial import judge
from harness.core.judge.unserved import OWN_CAUSES, stopped_serving, was_given_up, withstood
from harness.core.note import Note, NoteKind
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.swarm.exposure import OWN
from tests.core.series import FDS, OBJECTS, observation, trial

GOAL = Goal(300, 50, 1.0, ("/",), max_seconds=300.0, memory=False)
GROWN = replace(GOAL, connections=4096)
DEAD = Note(NoteKind.LOAD_GIVEN_UP, "every stream failed for 10 s")
CUT = (Note(NoteKind.LOAD_CUT_SHORT, "cancelled"),)
REFUSED = {"answered": 0, "completed": 0, "events": 0, "failed": 72, "opened": 72, "causes": {"refused": 72},
           "first_failure": "refused", "answered_after_failure": 0, "notes": CUT}  # fmt: skip
SILENT = {"answered": 200, "completed": 200, "events": 200, "failed": 100, "stalls": 100, "unanswered": 100,
          "causes": {"stalled": 100}, "first_failure": "stalled", "answered_after_failure": 0,
          "notes": CUT}  # fmt: skip


def load(index: int, ledger: Mapping[str, Any] | None = None, *, at: float | None = None) -> Observation:
    one = observation(index, {FDS: 10.0}, ledger={"answered": 300, **(ledger or {})})
    if at is None:
        return one
    return replace(one, started=at, load_ended=at + 1.0, ended=at + 3.0)


def after(*loads: Observation) -> Trial:
    quiet = [observation(n, {FDS: 10.0}, phase=Phase.WARMUP, ledger={"answered": 300}) for n in range(3)]
    idle = observation(3, {FDS: 10.0}, phase=Phase.IDLE)
    return trial([], observations=[*quiet, idle, *loads])


def full(fds: float, limit: float) -> Trial:
    """A service that refused clients with so many descriptors of so many that it was allowed."""
    now = after(load(4), replace(load(5, REFUSED), levels={FDS: fds}), load(6, REFUSED, at=26.0))
    return replace(now, target=replace(now.target, limits={"RLIMIT_NOFILE": limit}))


@pytest.mark.parametrize(
    ("changed", "given_up"),
    [
        (REFUSED, True),
        (SILENT, True),
        ({**SILENT, "answered_after_failure": 10}, True),
        ({**SILENT, "answered_after_failure": 11}, False),
        ({**SILENT, "answered_after_failure": 47, "notes": (*CUT, DEAD)}, True),
        ({**SILENT, "notes": ()}, False),
        ({**SILENT, "failed": 9, "stalls": 9, "unanswered": 9, "causes": {"stalled": 9}}, False),
        ({**SILENT, "failed": 100, "causes": {"cancelled": 95, "stalled": 5}, "stalls": 5, "unanswered": 100}, False),
        ({**REFUSED, "statuses": {429: 72}, "rate_limited": 72, "causes": {"status-429": 72}}, False),
        ({**REFUSED, "causes": {"status-500": 72}, "statuses": {500: 72}}, True),
        ({**REFUSED, "causes": {"status-404": 72}, "statuses": {404: 72}}, False),
        ({**REFUSED, "causes": {"generator-limit": 72}}, False),
        ({}, False),
    ],
    ids=["refused", "silent", "hardly any", "some answered", "dead at its end", "not cut short", "a few",
         "cancelled", "429", "500", "404",
         "own", "ok"],
)  # fmt: skip
def test_a_load_is_given_up_when_hardly_any_stream_was_answered_after_the_first_failure(
    changed: dict[str, Any], given_up: bool
) -> None:
    assert was_given_up(load(4, changed)) is given_up


def test_a_service_is_loaded_again_after_a_pause_before_it_counts_as_stalled() -> None:
    now = after(load(4), load(5, SILENT))
    assert stopped_serving(now) is None
    waits = 0
    while isinstance(step := next_step(now, GOAL), CycleSpec) and step.phase is Phase.RETENTION:
        waits += 1
        at = now.observations[-1].ended
        rest = observation(len(now.observations), {FDS: 10.0}, phase=Phase.IDLE)
        spec = replace(rest.spec, phase=Phase.RETENTION)
        rest = replace(rest, spec=spec, started=at, load_ended=at, ended=at + step.dwell)
        now = replace(now, observations=(*now.observations, rest))
    assert now.observations[-1].ended - (now.observations[5].load_ended or 0.0) >= 30.0
    assert waits > 5
    assert isinstance(step, CycleSpec)
    assert (step.phase, step.connections) == (Phase.LOAD, 300), "no larger than an ordinary load"
    asked = load(len(now.observations), REFUSED, at=now.observations[-1].ended)
    still = replace(now, observations=(*now.observations, asked))
    assert next_step(still, GOAL) == Stop("it stopped serving")
    verdict = judge(still)
    assert verdict.outcome is Outcome.STALLED
    assert verdict.explanation.startswith(
        "connections were refused after 1,400 answered streams, and still 3"
    )
    served = replace(now, observations=(*now.observations, load(len(now.observations), at=asked.started)))
    assert judge(served).outcome is not Outcome.STALLED
    assert withstood(served) == 100.0
    assert isinstance(following := next_step(served, GOAL), CycleSpec)
    assert following.connections == 300


def test_a_service_that_has_never_answered_is_stalled_without_a_pause() -> None:
    mute = {"answered": 0, "completed": 0, "events": 0, "stalls": 300, "unanswered": 300, "failed": 300,
            "causes": {"stalled": 300}, "first_failure": "stalled", "answered_after_failure": 0}  # fmt: skip
    now = after(load(4, mute), load(5, mute))
    seen = tuple(o if o.spec.phase is Phase.IDLE else replace(o, ledger=now.observations[-1].ledger)
                 for o in now.observations)  # fmt: skip
    step = next_step(replace(now, observations=seen), GOAL)
    assert isinstance(step, CycleSpec)
    assert step.phase is not Phase.RETENTION
    assert isinstance(step := next_step(now, GOAL), CycleSpec)
    assert step.phase is Phase.RETENTION, "one that has answered before is"


def test_a_closed_listener_is_tried_again_after_ten_seconds() -> None:
    assert stopped_serving(after(load(4), load(5, REFUSED), load(6, REFUSED, at=26.0))) is not None
    assert stopped_serving(after(load(4), load(5, SILENT), load(6, REFUSED, at=26.0))) is None
    assert stopped_serving(after(load(4), load(5, REFUSED), load(6, REFUSED))) is None, "two seconds later"


def test_failures_of_the_harness_are_those_that_the_swarm_counts_as_its_own() -> None:
    assert set(OWN_CAUSES) == OWN


@pytest.mark.parametrize(
    ("failed", "advice"), [(REFUSED, "accepts connections"), (SILENT, "sends as it goes")]
)
def test_the_advice_fits_what_clients_got(failed: dict[str, Any], advice: str) -> None:
    verdict = judge(after(load(4), load(5, failed), load(6, failed, at=60.0)))
    assert verdict.outcome is Outcome.STALLED
    assert advice in verdict.advice


def test_a_limit_of_1024_open_files_is_distinguished_from_that_of_select() -> None:
    assert "select()" in str(stopped_serving(full(1024.0, limit=20_000.0)))
    assert "select()" not in str(stopped_serving(full(1024.0, limit=1024.0)))


@pytest.mark.parametrize(("fds", "named"), [(1019.0, False), (1020.0, True), (1025.0, True), (1029.0, False)])
def test_a_service_full_at_1024_descriptors_is_advised_about_select(fds: float, named: bool) -> None:
    """A PHP server with stream_select answered no client once it had 1,025 descriptors."""
    assert ("select()" in str(stopped_serving(full(fds, limit=20_000.0)))) is named


def test_after_a_load_that_failed_no_load_is_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    broke = {**SILENT, "answered": 1000, "opened": 1500, "failed": 500, "stalls": 500, "unanswered": 500,
             "causes": {"stalled": 500}}  # fmt: skip
    now = after(load(4, broke), load(5))
    assert withstood(now) == 500.0
    assert design.large_load(now, GOAL, "fin").connections == 500
    growing = Assessed("undecided", 1.0, "grew", 9e4, 3000.0, growing=True, cache="rose with its driver")
    monkeypatch.setattr("harness.core.plan.assess_counts", lambda *_: {OBJECTS: growing})
    monkeypatch.setattr(
        "harness.core.plan._load_or_control", lambda *_: design.ordinary_cycle(now, GROWN, Phase.LOAD)
    )
    assert isinstance(step := next_step(replace(now, retention=0.0), GOAL), CycleSpec)
    assert step.connections == 500, "a cycle to outgrow a cache neither"
    assert withstood(after(load(4), load(5))) == float("inf")


def test_growth_that_reaches_a_limit_is_reported_as_a_leak() -> None:
    """The finding itself says what happened at the limit."""
    loads = (load(4), load(5), load(6, REFUSED), load(7, REFUSED, at=60.0))
    levels = iter([310.0, 610.0, 910.0, 910.0, 1210.0, 1510.0, 1510.0, 1510.0])
    seen = tuple(replace(one, levels={FDS: next(levels)}) for one in after(*loads).observations)
    verdict = judge(replace(after(*loads), observations=seen, retention=0.0))
    assert verdict.outcome is Outcome.LEAKING
    assert verdict.stalled is None
