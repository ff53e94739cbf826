"""The static site of a history: an index, and one page for each target with a chart for each metric over its runs."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.core.history import RunEntry
from harness.core.trends import Series, SeriesChange, all_series, trend
from harness.core.units import counted
from harness.report.page import asset, environment, policy, script_json
from harness.report.trend import SHORT, certainty, commit, levels, sentence

INDEX = "index.html"


def render(
    entries: Sequence[RunEntry], names: Mapping[str, str], reports: Mapping[str, str]
) -> dict[str, str]:
    """File name → page. names: target → the file name of its page. reports: digest of a run → the address of its
    report, relative to the site."""
    series = all_series(entries)
    found = trend(series)
    pages = {INDEX: _page("Leak history", [], found, entries, names, reports, up=False)}
    for target, name in names.items():
        own = [one for one in series if one.target == target]
        about = [one for one in found if one.series.target == target]
        pages[name] = _page(target, own, about, entries, names, reports, up=True)
    return pages


def _page(
    title: str,
    series: Sequence[Series],
    found: Sequence[SeriesChange],
    entries: Sequence[RunEntry],
    names: Mapping[str, str],
    reports: Mapping[str, str],
    *,
    up: bool,
) -> str:
    # Each run is stored once, and the charts refer to it by its number, which keeps the page small.
    runs: dict[str, int] = {}
    shown: list[dict[str, Any]] = []
    for one in series:
        for entry, trial, _ in one.points:
            if entry.digest not in runs:
                runs[entry.digest] = len(shown)
                shown.append(_run(entry, trial.outcome, reports))
    charts = [_chart(one, _changes_of(one, found), runs) for one in series]
    uplot, own = asset("uPlot.iife.min.js"), asset("site.js")
    css = asset("uPlot.min.css") + asset("report.css") + asset("site.css")
    # The page of a target counts its own runs.
    dates = [entry.started_at[:10] for entry in entries if not up or entry.digest in runs]
    span = f"{counted(len(dates), 'run')} from {dates[0]} to {dates[-1]}" if dates else "no runs"
    return (
        environment()
        .get_template("site.html.j2")
        .render(
            title=title,
            up=up,
            summary=span,
            targets=[] if up else [_target(name, page, entries, found) for name, page in names.items()],
            regressions=[_regression(one, names) for one in found if one.open],
            groups=_groups(series, found, shown, runs),
            data=script_json({"runs": shown, "charts": charts}),
            uplot=Markup(uplot),  # noqa: S704 - vendored
            own=Markup(own),  # noqa: S704 - ours
            css=Markup(css),  # noqa: S704 - vendored and ours
            policy=policy(uplot, own),
        )
    )


def _run(entry: RunEntry, outcome: str, reports: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": entry.run_id,
        "day": entry.started_at[5:10],
        "outcome": outcome,
        "commit": entry.commit[:SHORT] + ("+" if entry.dirty else ""),
        "branch": entry.branch,
        "report": reports.get(entry.digest, ""),
    }


def _changes_of(series: Series, found: Sequence[SeriesChange]) -> list[SeriesChange]:
    """The changes of one series. By identity, because comparing series would compare all of their points."""
    return [change for change in found if change.series is series]


def _chart(one: Series, found: Sequence[SeriesChange], runs: Mapping[str, int]) -> dict[str, Any]:
    return {
        "unit": one.unit,
        "runs": [runs[entry.digest] for entry, _, _ in one.points],
        "rate": [measured.rate for _, _, measured in one.points],
        "low": [measured.low for _, _, measured in one.points],
        "high": [measured.high for _, _, measured in one.points],
        "changes": [
            {"index": seen.change.index, "rose": seen.change.rose, "open": seen.open} for seen in found
        ],
    }


def _target(
    name: str, page: str, entries: Sequence[RunEntry], found: Sequence[SeriesChange]
) -> dict[str, Any]:
    own = [trial for entry in entries for trial in entry.trials if trial.target == name]
    return {
        "name": name,
        "page": page,
        "outcome": own[-1].outcome,
        "runs": counted(sum(any(trial.target == name for trial in entry.trials) for entry in entries), "run"),
        "open": sum(one.open and one.series.target == name for one in found),
    }


def _anchor(one: Series) -> str:
    # A checksum, because profiles and loads may contain characters that an anchor must not.
    return "m" + format(
        zlib.crc32(
            f"{one.profile}\0{one.mode}\0{one.load}\0{one.metric}\0{one.kind}".encode(errors="replace")
        ),
        "08x",
    )


def _regression(one: SeriesChange, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "target": one.series.where,
        "page": names[one.series.target],
        "anchor": _anchor(one.series),
        "metric": one.series.name,
        "change": levels(one),
        "commits": f"{commit(one, after=False)} → {commit(one, after=True)}",
        "since": one.after.started_at[:10],
        "ago": one.ago,
    }


def _groups(
    series: Sequence[Series],
    found: Sequence[SeriesChange],
    shown: Sequence[dict[str, Any]],
    runs: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Charts of the same profile, mode and load together, with the runs they show, newest first."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for index, one in enumerate(series):
        key = (one.profile, one.mode, one.load)
        group = groups.setdefault(
            key,
            {"title": one.profile or one.mode or "runs", "load": one.load, "charts": [], "seen": {}},
        )
        group["seen"].update({runs[entry.digest]: None for entry, _, _ in one.points})
        group["charts"].append(
            {
                "index": index,
                "anchor": _anchor(one),
                "name": one.name,
                "unit": one.unit,
                "changes": [
                    {
                        "css": "leaking" if seen.open else "inconclusive" if seen.change.rose else "bounded",
                        "text": f"{'Regression: ' if seen.open else ''}{sentence(seen)} ({certainty(seen)})",
                    }
                    for seen in _changes_of(one, found)
                ],
            }
        )
    return [
        {**group, "runs": [shown[number] for number in sorted(group["seen"], reverse=True)]}
        for group in groups.values()
    ]
