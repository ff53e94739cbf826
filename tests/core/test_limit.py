"""A service that stops serving: what is a limit, and which growth ran into one, from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.core.cycle import Observation
from harness.core.judge.growth import Allowed, Assessed
from harness.core.judge.limit import limit_of, limited
from harness.core.judge.moments import moments
from harness.core.record import Trial
from tests.core.series import FDS, observation, trial

STREAMS = 300


def cycle(index: int, level: float, answered: int, **ledger: Any) -> Observation:
    found: dict[str, Any] = {
        "opened": STREAMS,
        "answered": answered,
        "unanswered": STREAMS - answered,
        **ledger,
    }
    return observation(index, {FDS: level}, ledger=found)


def served(answered: Sequence[int], levels: Sequence[float] = (), **ledger: Any) -> Trial:
    """Cycles of 300 streams of which so many were answered; ``ledger`` of those that hardly were."""
    seen = [
        cycle(index, (levels or [10.0] * len(answered))[index], many, **(ledger if many < 7 else {}))
        for index, many in enumerate(answered)
    ]
    return trial([], observations=seen)


@pytest.mark.parametrize(("last", "at"), [(6, 3), (7, None), (0, 3)])
def test_a_service_stops_serving_where_two_of_a_hundred_are_answered(last: int, at: int | None) -> None:
    limit = limit_of(served([300, 300, 300, last, last]))
    assert (limit and limit.cycle) == at


def test_a_limit_is_one_only_until_the_end() -> None:
    assert limit_of(served([300, 300, 0, 300, 300])) is None
    assert limit_of(served([0, 0, 0])) is None, "it never served"
    assert limit_of(served([300, 300, 300])) is None


@pytest.mark.parametrize(
    ("ledger", "happened"),
    [
        ({"statuses": {503: 300}, "unanswered": 0}, "only status 503"),
        ({"statuses": {500: 300}, "unanswered": 0}, "only status 500"),
        ({"statuses": {429: 300}, "unanswered": 0}, None),
        ({"statuses": {499: 300}, "unanswered": 0}, None),
        ({"unanswered": 200, "stalls": 100}, "no stream was answered any more"),
        ({"unanswered": 0, "causes": {"connection-refused": 300}}, "connections were refused"),
        ({"unanswered": 0, "causes": {"connection-reset": 300}}, "connections were refused"),
        ({"unanswered": 0, "causes": {"timeout": 300}}, None),
        ({"unanswered": 100, "statuses": {503: 101}}, "only status 503"),
        ({"unanswered": 102, "statuses": {503: 101}}, "no stream was answered any more"),
    ],
)
def test_what_clients_met_is_named(ledger: dict[str, Any], happened: str | None) -> None:
    limit = limit_of(served([300, 300, 300, 0], **ledger))
    assert (limit and limit.happened) == happened


def judged(
    grown: Sequence[float], after: float = 0.0, pool: float = 0.0, streams: int = STREAMS
) -> Assessed | None:
    """Cycles that were answered and left so much each, two that were not, and the level after those."""
    levels: list[float] = []
    for value in grown:
        levels.append((levels or [10.0])[-1] + value)
    levels += [levels[-1] + after] * 2
    counts = [streams] * len(grown) + [0, 0]
    one = trial([], observations=[cycle(index, level, many, opened=streams, unanswered=streams - many)
                                  for index, (level, many) in enumerate(zip(levels, counts, strict=True))])  # fmt: skip
    one = replace(one, initial={FDS: 10.0})
    return limited(one, moments(one), {FDS: Allowed(pool=pool)}).get(FDS)


def test_growth_until_the_limit_is_a_leak_with_its_rate() -> None:
    one = judged([300, 300, 300])
    assert one is not None
    assert (one.status, one.factor) == ("leaking", "answered")
    assert one.low <= 1.0 <= one.high
    assert "until 910, then no stream was answered any more" in one.why


@pytest.mark.parametrize(("each", "found"), [(89, False), (90, True)])
def test_what_runs_into_a_limit_leaves_three_tenths_of_a_unit_for_each_stream(each: int, found: bool) -> None:
    assert (judged([each, each, each]) is not None) is found


@pytest.mark.parametrize(("pool", "found"), [(899.0, True), (900.0, False)])
def test_a_declared_pool_may_be_what_ran_out(pool: float, found: bool) -> None:
    assert (judged([300, 300, 300], pool=pool) is not None) is found


@pytest.mark.parametrize(("fall", "found"), [(89.0, True), (91.0, False)])
def test_nine_tenths_of_the_growth_stay(fall: float, found: bool) -> None:
    assert (judged([300, 300, 300], after=-fall) is not None) is found


@pytest.mark.parametrize(("off", "found"), [(65, True), (70, False)])
def test_the_streams_explain_all_but_a_seventh_of_the_growth(off: int, found: bool) -> None:
    """14.4 % and 15.6 % are left."""
    assert (judged([300 + off, 300 - off, 300]) is not None) is found


@pytest.mark.parametrize(("last", "found"), [(5, False), (6, True)])
def test_growth_that_ran_into_a_limit_is_at_least_sixteen(last: int, found: bool) -> None:
    assert (judged([5, 5, last], streams=15) is not None) is found
