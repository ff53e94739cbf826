"""The trend over comparable nights, its words, and two runs compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.trends import all_series, compare, trend
from harness.report.trend import compared, lines, markdown
from tests.history.nightly_runs import measured, month, night, nights


def test_a_month_with_a_leak_names_metric_rates_commits_and_nights() -> None:
    series = all_series(month())
    found = trend(series)
    assert [one.name for one in series] == ["fds/eventfd", "threads"]
    assert [(one.series.name, one.change.index, one.open) for one in found] == [("fds/eventfd", 18, True)]
    text = "\n".join(lines(found, series))
    assert (
        "REGRESSION: app.py /events: rate of fds/eventfd per connection rose from 0.00 to 0.21 between commit "
        "0000011000 and 0000012000, 12 nights ago" in text
    )
    assert "confidence" in text


def test_a_leak_that_was_fixed_is_no_open_regression() -> None:
    found = trend(all_series(nights([0.0] * 15 + [0.21] * 10 + [0.0] * 10)))
    assert [(one.change.rose, one.open) for one in found] == [(False, False), (True, False)]
    assert "no open regression" in markdown(found, all_series(month()))


def test_a_second_rise_opens_again() -> None:
    found = trend(all_series(nights([0.0] * 12 + [0.2] * 10 + [0.0] * 10 + [0.5] * 5)))
    assert [one.open for one in found] == [True, False, False]
    assert found[0].change.index == 32


def test_nights_under_another_load_are_another_series() -> None:
    other = [
        replace(one, trials=(replace(one.trials[0], load="20 connections"),)) for one in month(leak_from=0)
    ]
    mixed = [*month(leak_from=99)[:15], *other[15:]]
    assert trend(all_series(mixed)) == []
    assert len(all_series(mixed, "fds")) == 2


def test_a_class_that_appears_with_the_leak_was_zero_before() -> None:
    """A census names only the classes that it met; all descriptors were counted on every night."""
    total = [measured(0.0, kind="", half=0.0005), measured(0.21, kind="")]
    entries = [night(n, total[0]) for n in range(18)] + [
        night(n, total[1], measured(0.21)) for n in range(18, 30)
    ]
    found = trend(all_series(entries, "fds/eventfd"))
    assert [(one.series.name, one.change.index, one.open) for one in found] == [("fds/eventfd", 18, True)]
    compared_with_before = compare(entries[3], entries[20])
    assert [one.key for one in compared_with_before.differences if one.worse] == ["fds", "fds/eventfd"]
    assert compared_with_before.missing == ()
    unknown = [night(n, measured(0.0, metric="threads", kind="")) for n in range(18)] + entries[18:]
    assert len(all_series(unknown, "fds/eventfd")[0].points) == 12, (
        "where nothing was counted nothing is known"
    )


def test_what_else_changed_is_named() -> None:
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
def test_two_runs(old: float, new: float, worse: int, better: int) -> None:
    found = compare(night(1, measured(old)), night(2, measured(new)))
    assert sum(one.worse for one in found.differences) == worse
    assert sum(one.better for one in found.differences) == better
    assert found.worse is bool(worse)


def test_a_difference_below_the_asked_sensitivity_is_not_worse() -> None:
    fine = [night(number, measured(rate, half=1e-6)) for number, rate in ((1, 0.0), (2, 0.0005))]
    assert not compare(*fine).worse
    assert compare(fine[0], night(2, measured(0.002, half=1e-6))).worse


def test_a_crash_is_worse_whatever_the_metrics_say() -> None:
    good, bad = night(1, measured(0.0)), night(2)
    bad = replace(bad, trials=(replace(bad.trials[0], outcome="crashed"),))
    found = compare(good, bad)
    assert found.worse
    assert not compare(bad, good).worse
    assert "not compared: app.py /events: fds/eventfd: only in 2026-01-02T02-00-00-1" in compared(found)


def test_more_metrics_do_not_mean_more_false_alarms() -> None:
    """Intervals of 40 metrics hold together: what is barely significant alone is not."""
    one, many = measured(0.0048, half=0.002), [measured(0.0, metric=f"m{n}") for n in range(40)]
    assert compare(night(1, measured(0.0)), night(2, one)).worse
    assert not compare(night(1, measured(0.0), *many), night(2, one, *many)).worse
