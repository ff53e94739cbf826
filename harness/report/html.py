"""report.html: one file that opens from the disk, with no network, in light and dark, and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.core.record import RunRecord, Trial
from harness.core.sample import Sample
from harness.core.signature import excerpt
from harness.report.chart import columns
from harness.report.page import asset, environment, policy, script_json
from harness.report.row import HEADINGS, build_row, cells

LOG_LINES = 14


def _section(trial: Trial, samples: Sequence[Sample]) -> dict[str, Any]:
    assert trial.verdict
    tail = excerpt(trial.exit.log_tail, LOG_LINES) if trial.exit else ()
    return {
        "name": trial.name,
        "summary": str(trial.extra.get("summary", "")),
        "outcome": trial.verdict.outcome.value,
        "verdict": trial.verdict,
        "command": " ".join(trial.target.command or (trial.target.url,)),
        "notes": trial.notes,
        "log": tail,
        "chart": columns(trial, samples),
    }


def render(record: RunRecord, samples: Mapping[str, Sequence[Sample]]) -> str:
    """The whole report. samples: by trial name; a trial without samples has no chart."""
    judged = [trial for trial in record.trials if trial.verdict]
    uplot, own = asset("uPlot.iife.min.js"), asset("report.js")
    sections = [_section(trial, samples.get(trial.name, ())) for trial in judged]
    rows = [(build_row(trial).outcome.value, cells(build_row(trial))) for trial in judged]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            headings=HEADINGS,
            rows=rows,
            sections=sections,
            data=script_json([section["chart"] for section in sections]),
            uplot=Markup(uplot),  # noqa: S704 - vendored
            own=Markup(own),  # noqa: S704 - ours
            css=Markup(asset("uPlot.min.css") + asset("report.css")),  # noqa: S704 - vendored and ours
            policy=policy(uplot, own),
        )
    )
