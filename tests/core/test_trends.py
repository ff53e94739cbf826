"""The trend over comparable runs, its texts, and the comparison of two runs."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from harness.core.history import Measured
from harness.core.trends import all_series, compare, trend
from harness.report.trend import compared, lines, markdown
from tests.history.nightly_runs import measured, month, nightly_run, nightly_runs


def test_a_month_with_a_leak_names_metric_rates_commits_and_runs() -> None:
    series = all_series(month())
    found = trend(series)
    assert [one.name for one in series] == ["fds/eventfd", "threads"]
    assert [(one.series.name, one.change.index, one.open) for one in found] == [("fds/eventfd", 18, True)]
    text = "\n".join(lines(found, series))
    assert (
        "REGRESSION: app.py /events: rate of fds/eventfd per connection rose from 0.00 to 0.21 between commit "
        "0000011000 and 0000012000, 12 runs ago" in text
    )
    assert "confidence" in text


def test_a_leak_that_was_fixed_is_no_open_regression() -> None:
    found = trend(all_series(nightly_runs([0.0] * 15 + [0.21] * 10 + [0.0] * 10)))
    assert [(one.change.rose, one.open) for one in found] == [(False, False), (True, False)]
    assert "no open regression" in markdown(found, all_series(month()))


def test_a_second_rise_opens_again() -> None:
    found = trend(all_series(nightly_runs([0.0] * 12 + [0.2] * 10 + [0.0] * 10 + [0.5] * 5)))
    assert [one.open for one in found] == [True, False, False]
    assert found[0].change.index == 32


def test_runs_under_another_load_are_another_series() -> None:
    other = [
        replace(one, trials=(replace(one.trials[0], load="20 connections"),)) for one in month(leak_from=0)
    ]
    mixed = [*month(leak_from=99)[:15], *other[15:]]
    assert trend(all_series(mixed)) == []
    assert len(all_series(mixed, "fds")) == 2


def test_a_class_that_appears_with_the_leak_was_zero_before() -> None:
    """A census names only the classes that occurred; all descriptors were counted in every run."""
    total = [measured(0.0, kind="", half=0.0005), measured(0.21, kind="")]
    entries = [nightly_run(n, total[0]) for n in range(18)] + [
        nightly_run(n, total[1], measured(0.21)) for n in range(18, 30)
    ]
    found = trend(all_series(entries, "fds/eventfd"))
    assert [(one.series.name, one.change.index, one.open) for one in found] == [("fds/eventfd", 18, True)]
    compared_with_before = compare(entries[3], entries[20])
    assert [one.key for one in compared_with_before.differences if one.worse] == ["fds", "fds/eventfd"]
    assert compared_with_before.missing == ()
    unknown = [nightly_run(n, measured(0.0, metric="threads", kind="")) for n in range(18)] + entries[18:]
    assert len(all_series(unknown, "fds/eventfd")[0].points) == 12, (
        "where nothing was counted nothing is known"
    )


def test_other_changes_are_named() -> None:
    entries = [replace(one, kernel="6.1.0" if index < 18 else "6.18.0") for index, one in enumerate(month())]
    (found,) = trend(all_series(entries))
    assert found.conditions() == ["kernel: 6.1.0 → 6.18.0"]
    assert "kernel: 6.1.0 → 6.18.0" in "\n".join(lines([found], [found.series]))


def test_a_comment_cannot_be_broken_by_a_name() -> None:
    hostile = "<img src=x>|`@everyone`\n| x"
    found = trend(
        all_series([replace(one, trials=(replace(one.trials[0], target=hostile),)) for one in month()])
    )
    text = markdown(found, [found[0].series])
    row = next(line for line in text.splitlines() if "🔴" in line and "fds" in line)
    assert "<img" not in text
    assert row.replace("\\|", "").count("|") == 7


@pytest.mark.parametrize(
    ("old", "new", "worse", "better"),
    [(0.0, 0.21, 1, 0), (0.21, 0.0, 0, 1), (0.0, 0.001, 0, 0), (0.5, 0.5, 0, 0), (0.21, 0.25, 1, 0)],
)
def test_a_difference_between_two_runs_is_worse_or_better(
    old: float, new: float, worse: int, better: int
) -> None:
    found = compare(nightly_run(1, measured(old)), nightly_run(2, measured(new)))
    assert sum(one.worse for one in found.differences) == worse
    assert sum(one.better for one in found.differences) == better
    assert found.worse is bool(worse)


def test_a_difference_in_bytes_has_a_readable_unit() -> None:
    old, new = (
        replace(measured(value, metric="memory", kind="heap-bytes", half=100.0), unit="B/connection")
        for value in (1_349.0, 10_609.0)
    )
    text = "\n".join(compared(compare(nightly_run(1, old), nightly_run(2, new))))
    assert "1.35 kB → 10.6 kB per connection (+9.26 kB, 99 % interval +" in text
    back = "\n".join(compared(compare(nightly_run(1, new), nightly_run(2, old))))
    assert "10.6 kB → 1.35 kB per connection (-9.26 kB, 99 % interval -" in back


def test_a_difference_below_the_required_sensitivity_is_not_worse() -> None:
    fine = [nightly_run(number, measured(rate, half=1e-6)) for number, rate in ((1, 0.0), (2, 0.0005))]
    assert not compare(*fine).worse
    assert compare(fine[0], nightly_run(2, measured(0.002, half=1e-6))).worse


def test_a_crash_is_worse_whatever_the_metrics_are() -> None:
    good, bad = nightly_run(1, measured(0.0)), nightly_run(2)
    bad = replace(bad, trials=(replace(bad.trials[0], outcome="crashed"),))
    found = compare(good, bad)
    assert found.worse
    assert not compare(bad, good).worse
    assert "not compared: app.py /events: fds/eventfd: only in 2026-01-02T02-00-00-1" in compared(found)


def test_more_metrics_do_not_mean_more_false_alarms() -> None:
    """Intervals of 40 metrics hold together: what is barely significant alone is not."""
    one, many = measured(0.0048, half=0.002), [measured(0.0, metric=f"m{n}") for n in range(40)]
    assert compare(nightly_run(1, measured(0.0)), nightly_run(2, one)).worse
    assert not compare(nightly_run(1, measured(0.0), *many), nightly_run(2, one, *many)).worse


def test_conditions_name_the_machine_the_version_and_the_runtime() -> None:
    entries = nightly_runs([0.0] * 10 + [0.2] * 10)
    changed = [
        *entries[:10],
        *(
            replace(
                one, machine_class="", harness_version="0.2.0",
                trials=(replace(one.trials[0], runtime_version="3.12.1"),),
            )
            for one in entries[10:]
        ),
    ]  # fmt: skip
    (found,) = trend(all_series(changed))
    assert (found.before.run_id, found.after.run_id) == (changed[9].run_id, changed[10].run_id)
    assert found.ago == 10
    assert found.conditions() == [
        "machine class: x86_64, 2 cores, 4 GiB → unknown", "harness version: 0.1.0 → 0.2.0",
        "runtime: python 3.11.7 → python 3.12.1",
    ]  # fmt: skip


def test_series_are_in_a_fixed_order_oldest_run_first_and_named_with_their_profile() -> None:
    entries = [
        replace(one, trials=(replace(one.trials[0], profile="fixed", target=target),))
        for target in ("b", "a")
        for one in nightly_runs([0.1, 0.2])
    ]
    found = all_series(reversed(entries))
    assert [(one.where, one.name, one.unit) for one in found] == [
        (f"{target} [fixed]", name, f"{name.partition('/')[0]}/connection")
        for target in "ab"
        for name in ("fds/eventfd", "threads")
    ]
    assert [one.rate for one in found[0].estimates] == [0.1, 0.2]
    assert (found[0].estimates[0].low, found[0].estimates[0].high) == pytest.approx((0.098, 0.102))
    assert [one.name for one in all_series(entries, "fds")] == ["fds/eventfd"] * 2
    assert [one.name for one in all_series(entries, "fds/eventfd")] == ["fds/eventfd"] * 2
    assert all_series(entries, "fds/pipe") == []
    assert all_series(nightly_runs([0.1]))[0].where == "app.py /events"


def test_a_run_with_an_unknown_rate_is_left_out() -> None:
    nan = float("nan")
    first, second = nightly_run(1, measured(nan)), nightly_run(2, measured(0.1))
    assert [len(one.points) for one in all_series([first, second])] == [1]
    unknown = nightly_run(1, measured(nan, kind=""), measured(0.2, kind="pipe"))
    (pipe,) = all_series([unknown, nightly_run(2, measured(0.1, kind="", half=0.25))], "fds/pipe")
    assert len(pipe.points) == 1 + 1, "a class that a later night never met did not grow"
    absent = pipe.points[1][2]
    assert (absent.rate, absent.low, absent.status) == (0.0, 0.0, "bounded")
    assert absent.high == pytest.approx(0.25)
    assert len(all_series([nightly_run(2, measured(nan, kind="")), unknown], "fds/pipe")[0].points) == 1


def test_a_change_that_fell_back_a_little_is_still_open_and_the_newest_is_first() -> None:
    partly = trend(all_series(nightly_runs([0.0] * 12 + [0.5] * 10 + [0.2] * 10)))
    assert [(one.change.rose, one.open) for one in partly] == [(True, True), (False, False)]
    twice = trend(all_series(nightly_runs([0.0] * 12 + [0.2] * 12 + [0.6] * 10)))
    assert [(one.change.index, one.open) for one in twice] == [(24, True), (12, True)]


@pytest.mark.parametrize("count", [1, 2, 41])
def test_the_interval_of_a_difference_holds_over_all_metrics(count: int) -> None:
    """Bonferroni at 99 %, checked against the normal distribution of the standard library."""
    z = NormalDist().inv_cdf(1 - 0.01 / count / 2)
    old = Measured("fds", "eventfd", "bounded", 0.1, 0.08, 0.13, "fds/connection")
    new = Measured("fds", "eventfd", "bounded", 0.5, 0.46, 0.53, "fds/connection")
    more = [measured(0.0, metric=f"m{n}") for n in range(count - 1)]
    found = compare(nightly_run(1, old, *more), nightly_run(2, new, *more))
    one = next(each for each in found.differences if each.key == "fds/eventfd")
    assert one.low == pytest.approx(0.4 - z / 1.96 * math.hypot(0.04, 0.03))
    assert one.high == pytest.approx(0.4 + z / 1.96 * math.hypot(0.03, 0.02))
    assert (one.target, one.unit, one.old, one.new) == ("app.py /events", "fds/connection", old, new)
    assert (one.worse, one.better) == (True, False)
    assert found.differences[0] is one, "what got worse comes first"


@pytest.mark.parametrize(
    ("old", "new", "worse"),
    [
        ("bounded", "leaking", True), ("bounded", "over-ceiling", True), ("leaking", "leaking", False),
        ("over-ceiling", "leaking", False), ("leaking", "bounded", False), ("bounded", "undecided", False),
    ],
)  # fmt: skip
def test_a_finding_that_the_old_run_had_not_is_worse_whatever_its_rate(
    old: str, new: str, worse: bool
) -> None:
    first, second = (replace(measured(0.1), status=status) for status in (old, new))
    assert compare(nightly_run(1, first), nightly_run(2, second)).differences[0].worse is worse


def test_memory_is_worse_from_a_kilobyte_per_connection_at_the_usual_sensitivity() -> None:
    def of(rate: float) -> Measured:
        return Measured("memory", "anonymous", "bounded", rate, rate - 1, rate + 1, "B/connection")

    assert not compare(nightly_run(1, of(0.0)), nightly_run(2, of(1023.0))).worse
    assert compare(nightly_run(1, of(0.0)), nightly_run(2, of(1024.0))).worse
    assert not compare(nightly_run(1, of(1023.0)), nightly_run(2, of(0.0))).differences[0].better
    assert compare(nightly_run(1, of(1024.0)), nightly_run(2, of(0.0))).differences[0].better
    fine = [replace(one, trials=(replace(one.trials[0], sensitivity=sensitivity),))
            for one, sensitivity in ((nightly_run(1, of(0.0)), 1e-3), (nightly_run(2, of(600.0)), 5e-4))]  # fmt: skip
    assert compare(*fine).worse, "the finer of the two sensitivities counts"


def test_differences_between_two_runs_are_named() -> None:
    first, second = nightly_run(1, measured(0.0)), nightly_run(2, measured(0.0))
    second = replace(
        second, commit="", dirty=True, branch="next", kernel="6.2.0",
        trials=(replace(second.trials[0], load="20", sensitivity=0.01, mode="request", runtime_version=""),),
    )  # fmt: skip
    assert compare(first, second).conditions == (
        f"commit: {first.commit} → unknown", "branch: main → next", "dirty: False → True", "kernel: 6.1.0 → 6.2.0",
        "app.py /events: mode: stream → request", "app.py /events: load: 300 connections → 20",
        "app.py /events: sensitivity: 0.001 → 0.01", "app.py /events: runtime version: 3.11.7 → unknown",
    )  # fmt: skip
    assert compare(first, replace(first, dirty=None)).conditions == ("dirty: False → unknown",)


def test_trials_of_two_runs_are_paired_by_target_profile_and_name() -> None:
    (one,) = nightly_run(1, measured(0.0)).trials
    old = nightly_run(1, measured(0.0), trials=(one, replace(one, name="b"), replace(one, name="gone")))
    new = nightly_run(
        2, measured(0.0), trials=(replace(one, name="new"), replace(one, name="b", outcome="stalled"), one)
    )
    found = compare(old, new)
    assert found.outcomes == (
        ("app.py /events [b]", "bounded", "stalled"), ("app.py /events [soak]", "bounded", "bounded"))  # fmt: skip
    assert found.worse
    assert not compare(new, old).worse
    other = replace(one, target="other", profile="p")
    (pair,) = compare(old, replace(new, trials=(other,))).outcomes or [None]
    assert pair is None, "one trial against several is compared by name alone"
    assert compare(nightly_run(1), replace(nightly_run(2), trials=(other,))).outcomes == (
        ("other", "bounded", "bounded"),
    )
