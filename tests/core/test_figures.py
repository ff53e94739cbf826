"""Published figures: each once, only measured ones, and with a limited number of labels."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.core import figures
from harness.core.cycle import Ledger
from harness.core.figures import FIGURES, MAX_LABELS, MAX_TEXT, Value
from harness.core.judge.trial import judge
from harness.core.sample import Census, ProcessSample, Sample
from tests.core.series import trial


def by_name(values: list[Value]) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for one in values:
        assert len(one.labels) == len(one.figure.labels)
        assert one.labels not in found.get(one.figure.name, {}), f"{one} is there twice"
        found.setdefault(one.figure.name, {})[one.labels] = one.value
    return found


def test_names_follow_the_conventions_of_prometheus() -> None:
    for name, figure in FIGURES.items():
        assert re.fullmatch(r"harness_[a-z_]+[a-z]", name)
        assert not name.endswith("_total"), "Prometheus adds that to counters"
        assert figure.prometheus == (f"{name}_total" if figure.kind == "counter" else name)
        assert figure.text.endswith(".")
        assert figure.kind in ("gauge", "counter")


def test_a_gap_is_a_hole_and_never_a_zero() -> None:
    seen = by_name(list(figures.of_sample(Sample(1.0, gap="no permission"), "app")))
    assert seen == {"harness_target_up": {(): 0.0}, "harness_target_info": {("app", "no permission"): 1.0}}
    seen = by_name(list(figures.of_sample(Sample(1.0, fds=7, threads=None, cpu=0.5), "app")))
    assert seen["harness_target_up"] == {(): 1.0}
    assert seen["harness_fds"] == {(): 7.0}
    assert "harness_threads" not in seen
    assert seen["harness_cpu_seconds"] == {(): 0.5}


def test_a_service_cannot_fill_the_database_of_the_collector() -> None:
    census = Census(1.0, threads={f"worker-{n}": n for n in range(1, 1001)})
    held = by_name(list(figures.of_census(census)))["harness_threads_by_name"]
    assert len(held) == MAX_LABELS + 1
    assert sum(held.values()) == sum(range(1, 1001))
    assert held["worker-1000",] == 1000
    assert held["other",] == sum(range(1, 901))
    many = tuple(ProcessSample(n, "x" * 500, 3, 1, 1) for n in range(500))
    processes = by_name(list(figures.of_sample(Sample(1.0, fds=1, per_process=many), "app")))
    assert len(processes["harness_process_fds"]) == MAX_LABELS
    assert {len(name) for _, name in processes["harness_process_fds"]} == {MAX_TEXT}


def test_streams_are_summed_over_cycles_and_failures_by_cause() -> None:
    ledgers = [
        Ledger(opened=300, answered=290, events=500, bytes=7, causes={"reset": 4, "timeout": 1}),
        Ledger(opened=100, answered=90, events=120, bytes=1, open_now=10, causes={"reset": 2}),
    ]
    seen = by_name(list(figures.of_streams(ledgers)))
    assert seen["harness_streams_opened"] == {(): 400.0}
    assert seen["harness_streams_answered"] == {(): 380.0}
    assert seen["harness_streams_open"] == {(): 10.0}
    assert seen["harness_events"] == {(): 620.0}
    assert seen["harness_stream_bytes"] == {(): 8.0}
    assert seen["harness_streams_failed"] == {("reset",): 6.0, ("timeout",): 1.0}
    assert by_name(list(figures.of_streams([])))["harness_streams_opened"] == {(): 0.0}


def test_a_leak_is_a_rate_with_its_interval_and_an_outcome() -> None:
    verdict = judge(trial([310, 610, 910]))
    (finding,) = verdict.findings
    assert finding.rate
    seen = by_name([*figures.of_growth(verdict), *figures.of_verdict(verdict)])
    labels = ("fds", "", "connection", finding.rate.unit, "leaking")
    assert seen["harness_growth"] == {labels: pytest.approx(1.0)}
    assert seen["harness_growth_low"] == {labels: finding.rate.low}
    assert seen["harness_growth_high"] == {labels: finding.rate.high}
    assert finding.rate.low <= 1.0 <= finding.rate.high
    assert seen["harness_verdict"]["leaking",] == 1.0
    assert sum(seen["harness_verdict"].values()) == 1.0
    assert seen["harness_exit_code"] == {(): 1.0}


def test_a_metric_without_growth_has_an_upper_bound_and_levels_with_their_unit() -> None:
    steady = trial([10.0] * 12)
    verdict = judge(steady)
    seen = by_name([*figures.of_growth(verdict), *figures.of_levels(steady)])
    assert "harness_growth" not in seen
    bound = verdict.bounds[0]
    assert seen["harness_growth_at_most"]["fds", "", bound.unit, "after-disconnect"] == bound.at_most
    assert seen["harness_level"] == {("fds", "", "fds"): 10.0}
    only_initial = replace(steady, observations=())
    assert by_name(list(figures.of_levels(only_initial))).get("harness_level", {}) == {
        (key.metric, key.kind, key.unit): level for key, level in steady.initial.items()
    }


def test_no_verdict_before_the_end() -> None:
    assert list(figures.of_verdict(None)) == []
    assert list(figures.of_growth(None)) == []
    with pytest.raises(KeyError):
        figures.value("harness_unknown", 1)
