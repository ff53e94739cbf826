"""Saved runs whose truth is known (tests/cases/README.md), judged again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import as_ended
from harness.core.verdict import Finding, Verdict
from harness.store.run_dir import RunDirectory

RUNS = Path(__file__).parents[1] / "cases" / "runs"
PUBLISHED = 94e6  # bytes an hour


@dataclass(frozen=True, slots=True)
class Truth:
    """What the service does. rates: ``metric/kind`` → units per unit of the driver; the first finding is one of these.

    exact: the rate's interval contains the truth; otherwise the value is within ``within`` of it.
    """

    driver: str
    rates: dict[str, float]
    exact: bool = False
    within: float = 0.1


TRUTHS = {
    "go-ticker-per-connection": Truth(
        "connection", {"idle-cpu/": 2.6e-6, "memory/anonymous": 520.0}, within=0.3
    ),
    "node-heap-per-connection": Truth("connection", {"memory/objects": 50.0, "memory/heap-bytes": 9200.0}),
    "node-heap-per-connection-busy": Truth("connection", {"memory/objects": 50.0, "memory/heap-bytes": 9200.0}),
    "python-400-bytes-per-event": Truth("event", {"memory/blocks": 2.0}, exact=True),
    "python-task-per-answered-stream": Truth("answered-stream", {"tasks/asyncio-task": 1.0}, exact=True),
}  # fmt: skip


def verdict_of(name: str) -> Verdict:
    record, _ = RunDirectory.load(RUNS / name)
    [trial] = record.trials
    return judge(as_ended(trial))


def key(finding: Finding) -> str:
    return f"{finding.metric}/{finding.kind.partition(':')[0]}"


@pytest.mark.parametrize("name", TRUTHS)
def test_the_cause_is_first_with_its_driver_and_rate(name: str) -> None:
    truth, verdict = TRUTHS[name], verdict_of(name)
    assert verdict.outcome.value == "leaking", verdict.explain()
    first = verdict.findings[0]
    assert key(first) in truth.rates, verdict.explain()
    assert first.driver == truth.driver, verdict.explain()
    assert first.rate is not None
    expected = truth.rates[key(first)]
    if truth.exact:
        assert first.rate.low <= expected <= first.rate.high, first.rate
    else:
        assert first.rate.value == pytest.approx(expected, rel=truth.within)


@pytest.mark.parametrize("name", ["go-published-events-replayed-longer"])
def test_growth_over_time_is_no_pass_and_is_not_attributed_to_the_clients(name: str) -> None:
    verdict = verdict_of(name)
    assert verdict.outcome.value in ("leaking", "inconclusive"), verdict.explain()
    assert {finding.driver for finding in verdict.findings} <= {"time"}, verdict.explain()
    if verdict.outcome.value == "inconclusive":
        assert "memory" in verdict.explanation, verdict.explain()
        assert verdict.advice


@pytest.mark.parametrize("name", ["go-published-events-replayed"])
def test_a_short_pass_states_how_much_memory_an_hour_it_allows(name: str) -> None:
    verdict = verdict_of(name)
    assert verdict.outcome.value in ("leaking", "inconclusive", "bounded"), verdict.explain()
    assert {finding.driver for finding in verdict.findings} <= {"time"}, verdict.explain()
    if verdict.outcome.value == "bounded":
        hourly = [b.at_most for b in verdict.bounds if b.metric == "memory" and "hour" in b.unit]
        assert hourly, verdict.explain()
        assert max(hourly) >= PUBLISHED, "the service grows by more than the bound allows"


RELEASES = {
    "python-release-after-3-to-50-seconds": (47.5, 52.5),
    "java-release-after-18-seconds": (17.1, 18.9),
}
HELD = "go-held-while-connected"


@pytest.mark.parametrize("name", RELEASES)
def test_memory_of_resources_that_are_released_late_is_no_leak(name: str) -> None:
    """What the first clients warmed up stays, and is not a part of the release."""
    verdict = verdict_of(name)
    assert verdict.outcome.value == "bounded", verdict.explain()
    bound = next(
        b for b in verdict.bounds if (b.metric, b.kind, b.unit) == ("fds", "", "fds/answered-stream")
    )
    assert bound.status == "retention"
    said = re.search(r"released (\d+) s after the client disconnected", bound.explanation)
    assert said, bound.explanation
    least, most = RELEASES[name]
    assert least <= float(said[1]) <= most
    hourly = next(b for b in verdict.bounds if (b.metric, b.kind, b.unit) == ("fds", "", "fds/hour"))
    assert hourly.at_most < 500, "what departed clients leave behind for a while is not growth over time"


@pytest.mark.parametrize("name", RELEASES)
@pytest.mark.parametrize("each", [1.0, 3.0])
def test_objects_that_stay_beside_such_a_release_are_no_pass(name: str, each: float) -> None:
    record, _ = RunDirectory.load(RUNS / name)
    [trial] = record.trials
    streams, observations = 0, []
    for seen in trial.observations:
        streams += seen.ledger.answered or 0
        extra = {Key("memory", "objects"): each * streams}
        levels = {key: level + extra.get(key, 0.0) for key, level in seen.levels.items()}
        observations.append(replace(seen, levels=levels))
    verdict = judge(replace(trial, observations=tuple(observations)))
    assert verdict.outcome.value != "bounded", verdict.explain()


def test_memory_held_while_connected_by_a_collected_heap_is_no_pass() -> None:
    """8 kB per event, freed when the stream ends: Go gives the pages back only after its next collection."""
    verdict = verdict_of(HELD)
    assert verdict.outcome.value == "inconclusive", verdict.explain()
    assert "while connected" in verdict.explanation
    assert "--hold" in verdict.advice


def test_every_case_has_its_truth() -> None:
    names = {path.parent.name for path in RUNS.glob("*/run.json")}
    judged = {*TRUTHS, *RELEASES, HELD}
    assert names == {*judged, "go-published-events-replayed", "go-published-events-replayed-longer"}
