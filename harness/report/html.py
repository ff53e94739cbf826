"""report.html: one file that opens from the disk, with no network, in light and dark, and prints."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.core.quote import plain
from harness.core.record import RunRecord, Trial
from harness.core.sample import Sample
from harness.core.signature import excerpt
from harness.report.chart import columns
from harness.report.row import HEADINGS, build_row, cells

LOG_LINES = 14
LONGEST = 4000  # characters of any one text


def _asset(name: str) -> str:
    return files("harness.report").joinpath("assets", name).read_text(encoding="utf-8")


def script_json(data: Any) -> Markup:
    """JSON that can stand inside a script element whatever its strings say."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped just above


def _digest(text: str) -> str:
    """The hash by which the Content-Security-Policy lets one inline script run, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _printable(value: object) -> object:
    """Whatever the template shows, without control characters: a target said some of it."""
    return plain(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


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
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    uplot, own = _asset("uPlot.iife.min.js"), _asset("report.js")
    sections = [_section(trial, samples.get(trial.name, ())) for trial in judged]
    rows = [(build_row(trial).outcome.value, cells(build_row(trial))) for trial in judged]
    return environment.get_template("report.html.j2").render(
        record=record,
        headings=HEADINGS,
        rows=rows,
        sections=sections,
        data=script_json([section["chart"] for section in sections]),
        uplot=Markup(uplot),  # noqa: S704 - vendored
        own=Markup(own),  # noqa: S704 - ours
        css=Markup(_asset("uPlot.min.css") + _asset("report.css")),  # noqa: S704 - vendored and ours
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src '{_digest(uplot)}' '{_digest(own)}'",
    )
