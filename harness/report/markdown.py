"""summary.md: the table and the verdicts for a pull request or a job summary."""

from __future__ import annotations

from harness.core.record import RunRecord
from harness.core.verdict import Outcome
from harness.report.paragraph import log_tail, notes, paragraph
from harness.report.row import HEADINGS, build_row, cells
from harness.report.text import safe


def _escape(text: str) -> str:
    """Neither a new cell, nor markup, nor HTML."""
    clean = safe(text, 4000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "\\|`*_[]":
        clean = clean.replace(char, "\\" + char)
    return clean


def render(record: RunRecord) -> str:
    """The whole run as Markdown."""
    judged = [trial for trial in record.trials if trial.verdict]
    lines = [f"# {_escape(record.command)}", "", f"Run `{record.run_id}`, {record.started_at}", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(map(_escape, cells(build_row(trial)))) + " |" for trial in judged]
    for trial in judged:
        assert trial.verdict
        lines += [
            "",
            f"## {_escape(trial.name)}: {trial.verdict.outcome.value}",
            "",
            _escape(paragraph(trial)),
            "",
        ]
        lines += [f"- {_escape(finding.explanation)}" for finding in trial.verdict.findings]
        lines += [f"- warning: {_escape(warning)}" for warning in trial.verdict.warnings]
        lines += [f"- {_escape(note)}" for note in notes(trial)]
        said = [] if trial.verdict.outcome is Outcome.BOUNDED else log_tail(trial)
        lines += [f"- log: {_escape(line)}" for line in said]
    return "\n".join(lines) + "\n"
