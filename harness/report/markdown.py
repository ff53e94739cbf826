"""summary.md: the table and the verdicts for a pull request or a job summary."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.judge.signature import excerpt
from harness.core.note import NoteKind, of_kind
from harness.core.quote import markdown, markdown_code
from harness.core.record import RunRecord, Trial
from harness.core.verdict import Outcome
from harness.report.facts import facts_of
from harness.report.log import LOG_LINES, causes, log_tail
from harness.report.row import build_row, table

IN_FULL = ("warning", "note", "log")  # labels whose lines follow in full
# Notes that the reader of a verdict needs: where budgets come from, and how the service or its log changed the run.
NEEDED = (
    NoteKind.BUDGETS, NoteKind.BUDGET_GAP, NoteKind.BUDGET_EXCEPTION, NoteKind.KILLED, NoteKind.LOG_CUT,
)  # fmt: skip


def render(record: RunRecord) -> str:
    """The whole run as Markdown."""
    judged = [trial for trial in record.trials if trial.verdict]
    lines = [
        f"# {markdown(record.command)}",
        "",
        f"Run {markdown_code(record.run_id)}, {markdown(record.started_at, 64)}",
        "",
    ]
    headings, rows = table([build_row(trial) for trial in judged])
    lines += ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(map(markdown, row)) + " |" for row in rows]
    for trial in judged:
        assert trial.verdict
        facts = facts_of(trial)
        lines += [
            "",
            f"## {markdown(trial.name)}: {trial.verdict.outcome.value}",
            "",
            f"**{markdown(facts.headline)}**",
            "",
        ]
        lines += [
            f"- {fact.label}: {markdown(fact.text)}" for fact in facts.facts if fact.label not in IN_FULL
        ]
        # In full: unlike the terminal, a summary has room for all of them.
        lines += [f"- warning: {markdown(warning)}" for warning in trial.verdict.warnings]
        lines += [f"- {markdown(note.text)}" for note in of_kind(trial.notes, *NEEDED)]
        lines += [f"- log: {markdown(line)}" for line in _log(trial)]
    return "\n".join(lines) + "\n"


def _log(trial: Trial) -> Sequence[str]:
    """The end of the log. That of a service that did not fail as a whole is of interest only where it may name a cause:
    its access log is not."""
    assert trial.verdict
    if trial.verdict.outcome is Outcome.BOUNDED:
        return ()
    if trial.exit:
        return excerpt(log_tail(trial, len(trial.exit.log_tail)), LOG_LINES)
    tail = log_tail(trial)
    return tail if trial.verdict.outcome in (Outcome.UNREADY, Outcome.STALLED) else causes(tail)
