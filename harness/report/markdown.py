"""summary.md: the table and the verdicts for a pull request or a job summary."""

from __future__ import annotations

from harness.core.quote import markdown, markdown_code
from harness.core.record import RunRecord
from harness.core.verdict import Outcome
from harness.report.paragraph import log_tail, notes, paragraph
from harness.report.row import HEADINGS, build_row, cells


def render(record: RunRecord) -> str:
    """The whole run as Markdown."""
    judged = [trial for trial in record.trials if trial.verdict]
    lines = [
        f"# {markdown(record.command)}",
        "",
        f"Run {markdown_code(record.run_id)}, {markdown(record.started_at, 64)}",
        "",
    ]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(map(markdown, cells(build_row(trial)))) + " |" for trial in judged]
    for trial in judged:
        assert trial.verdict
        lines += [
            "",
            f"## {markdown(trial.name)}: {trial.verdict.outcome.value}",
            "",
            markdown(paragraph(trial)),
            "",
        ]
        lines += [f"- {markdown(finding.explanation)}" for finding in trial.verdict.findings]
        lines += [f"- warning: {markdown(warning)}" for warning in trial.verdict.warnings]
        lines += [f"- {markdown(note)}" for note in notes(trial)]
        said = [] if trial.verdict.outcome is Outcome.BOUNDED else log_tail(trial)
        lines += [f"- log: {markdown(line)}" for line in said]
    return "\n".join(lines) + "\n"
