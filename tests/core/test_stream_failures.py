"""Loading stops after a service has failed every stream for ten seconds, and not before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.core.cycle import CycleSpec, Ledger
from harness.experiment.stream_failures import StreamFailures

SPEC = CycleSpec(0, 300, 50, 2.0)


def loaded(
    seconds: float, spec: CycleSpec, watch: StreamFailures, start: float = 0.0, **each: Any
) -> float | None:
    """Ledgers ten times a second whose counts grow by these numbers; returns when loading should stop."""
    watch.begin_cycle()
    causes = each.pop("causes", {})
    for n in range(1, int(seconds * 10) + 1):
        counts = {name: n * value for name, value in each.items()}
        ledger = Ledger(**{"answered": 0, **counts, "causes": causes})
        if watch.update(start + n / 10, spec, ledger):
            return start + n / 10
    watch.end_cycle(ledger)
    return None


def test_only_500s_stop_the_load_after_ten_seconds_and_the_answers_before_are_reported() -> None:
    watch = StreamFailures()
    assert loaded(5, SPEC, watch, opened=20, answered=20) is None
    stopped = loaded(30, SPEC, watch, start=5.0, opened=20, failed=20, refused=20, causes={"status-500": 9})
    assert stopped == pytest.approx(15.1)
    assert watch.reason == "every stream failed for 10 s, most by status-500, after 1,000 answered streams"


def test_short_cycles_of_failures_add_up() -> None:
    watch, now = StreamFailures(), 0.0
    while not watch.reason and now < 60:
        loaded(0.5, SPEC, watch, start=now, opened=5, failed=5, causes={"refused": 5})
        now += 2.0  # a rest between them
    assert 10 <= now <= 14


@pytest.mark.parametrize(
    ("spec", "each"),
    [
        (SPEC, {"answered": 1, "failed": 20}),  # now and then one is served
        (SPEC, {"failed": 20, "rate_limited": 20}),
        (SPEC, {"failed": 20, "unanswered": 20}),  # a service that buffers whole streams
        (replace(SPEC, fault="silence"), {"failed": 20}),
        (replace(SPEC, dwell=60.0), {"failed": 20}),  # those that are open may be served
        (SPEC, {}),
    ],
    ids=[
        "some are answered",
        "rate limits",
        "never answers",
        "a silent broker",
        "long streams",
        "nothing fails",
    ],
)
def test_loading_continues_while_enough_streams_are_answered(spec: CycleSpec, each: dict[str, int]) -> None:
    assert loaded(30, spec, StreamFailures(), opened=20, **each) is None


def test_a_service_that_stops_answering_is_stopped() -> None:
    watch = StreamFailures()
    assert loaded(1, SPEC, watch, opened=20, answered=20) is None
    assert loaded(30, SPEC, watch, start=1.0, opened=20, failed=20, unanswered=20) is not None
