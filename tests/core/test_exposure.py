"""Exposure: each finished stream is counted once, and old records can still be read."""

from __future__ import annotations

import pytest

from harness.core.cycle import Ledger
from harness.core.record import RunRecord
from harness.core.record_codec import dumps, from_dict, to_dict
from harness.http import causes
from harness.swarm.exposure import StreamOutcome, outcome_of
from harness.swarm.histogram import Histogram
from harness.swarm.stream_spec import Report, StreamSpec
from harness.swarm.tally import Outcome, Tally, add_up
from tests.core.series import observation, trial

SPEC = StreamSpec("/")


class NoIds:
    missed = repeated = disordered = 0


class NoEvents:
    comments = 0
    ids = NoIds()


def report(**fields: object) -> Report:
    found = Report(SPEC, connect=0.001)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


ANSWERED = {"status": 200, "answered": True, "headers": 0.01, "disconnect": "fin"}
FAILED = {"status": 500, "headers": 0.01, "cause": "status-500"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (ANSWERED, StreamOutcome.ANSWERED),
        ({**ANSWERED, "cause": causes.STALLED}, StreamOutcome.ANSWERED),  # served, and silent afterwards
        (FAILED, StreamOutcome.REFUSED),
        ({"status": 302, "cause": causes.REDIRECT}, StreamOutcome.REFUSED),
        ({"disconnect": "rst-early"}, StreamOutcome.RESET),
        ({"cause": causes.RESET}, StreamOutcome.RESET),
        ({"cause": causes.CLOSED}, StreamOutcome.RESET),
        ({"disconnect": "fin", "cause": causes.STALLED}, StreamOutcome.UNANSWERED),
        ({"disconnect": "rst", "stalled": True}, StreamOutcome.UNANSWERED),
        ({"cause": causes.CANCELLED, "disconnect": "fin"}, StreamOutcome.OTHER),
        ({"cause": causes.PROTOCOL}, StreamOutcome.OTHER),
        ({"connect": None, "cause": causes.REFUSED}, StreamOutcome.OTHER),
        ({"connect": None, "cause": causes.GENERATOR}, StreamOutcome.OTHER),
    ],
)
def test_each_finished_stream_has_one_fate(fields: dict[str, object], expected: StreamOutcome) -> None:
    assert outcome_of(report(**fields)) is expected


def counted(*streams: dict[str, object]) -> Ledger:
    """Streams that come strictly one after the other."""
    tally = Tally()
    for fields in streams:
        tally.open("/")
        tally.close(report(**fields), NoEvents())
    return tally.outcome(1.0).ledger


def test_where_failures_begin_is_counted() -> None:
    limit = counted(*[ANSWERED] * 1_026, *[FAILED] * 300)
    assert (limit.answered, limit.refused, limit.statuses) == (1_026, 300, {500: 300})
    assert (limit.first_failure, limit.opened_before_failure) == ("status-500", 1_027)
    assert limit.answered_after_failure == 0
    stray = counted(ANSWERED, FAILED, *[ANSWERED] * 600)
    assert (stray.opened_before_failure, stray.answered_after_failure) == (2, 600)


def test_a_failure_of_the_generator_is_none_of_the_service() -> None:
    ledger = counted({"connect": None, "cause": causes.GENERATOR}, {"cause": causes.CANCELLED}, ANSWERED)
    assert (ledger.first_failure, ledger.opened_before_failure, ledger.answered) == ("", None, 1)


def test_a_stall_after_an_event_is_not_without_one() -> None:
    stalled = {**ANSWERED, "stalled": True, "cause": causes.STALLED}
    ledger = counted(stalled, {**stalled, "events": 2}, ANSWERED, {"disconnect": "rst", "stalled": True})
    assert (ledger.stalls, ledger.eventless, ledger.unanswered) == (3, 1, 1)


def test_counts_of_several_workers_add_up() -> None:
    silent = {**ANSWERED, "stalled": True}
    parts = [counted(*[ANSWERED] * 5, FAILED), counted(*[ANSWERED] * 6, silent), counted(FAILED, FAILED)]
    total = add_up([Outcome(part, Histogram()) for part in parts]).ledger
    assert (total.opened, total.answered, total.refused, total.eventless) == (15, 12, 3, 1)
    assert total.statuses == {500: 3}
    idle = add_up([Outcome(parts[1], Histogram()), Outcome(Ledger(), Histogram())]).ledger
    assert (idle.eventless, add_up([Outcome(Ledger(), Histogram())]).ledger.eventless) == (1, None)
    assert total.answered_by_mode == {"fin": 12}
    assert (total.first_failure, total.opened_before_failure) == ("status-500", 6 + 7 + 1)


def test_a_record_keeps_exposure_and_an_older_one_reads_without_it() -> None:
    exposed = observation(0, {}, ledger={"answered": 2, "statuses": {429: 5}})
    plain = to_dict(
        RunRecord("id", "x", "2026-01-01T00:00:00+00:00", 0, (trial([], observations=[exposed]),))
    )
    assert from_dict(plain).trials[0].observations[0].ledger == exposed.ledger
    assert '"statuses":{"429":5}' in dumps(plain)
    ledger = plain["trials"][0]["observations"][0]["ledger"]
    for name in ("answered", "answered_by_mode", "refused", "reset", "unanswered", "statuses", "peak"):
        del ledger[name]
    assert from_dict(plain).trials[0].observations[0].ledger.answered is None
