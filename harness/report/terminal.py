"""The end of a run in the terminal: one table, or a headline with its facts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.core.quote import terminal
from harness.core.record import Trial
from harness.core.units import counted
from harness.core.verdict import Outcome
from harness.report.fact_lines import INDENT, MAX_FACT
from harness.report.facts import facts_of
from harness.report.row import HEADINGS, build_row, cells

STYLES = {
    Outcome.BOUNDED: "green",
    Outcome.CRASHED: "red",
    Outcome.LEAKING: "red",
    Outcome.STALLED: "red",
    Outcome.OVER_CEILING: "red",
    Outcome.UNREADY: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.INFRASTRUCTURE: "magenta",
}
NARROW = 150  # columns below which each profile is a block of lines instead of a table row


def show_table(trials: Sequence[Trial], console: Console) -> None:
    """One row per trial; blocks of lines on a terminal too narrow for ten columns."""
    rows = [build_row(trial) for trial in trials]
    if console.width >= NARROW:
        table = Table(show_lines=True, title=None)
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in rows:
            texts = [Text(terminal(cell)) for cell in cells(row)]
            texts[1].stylize(STYLES[row.outcome])
            table.add_row(*texts)
        console.print(table)
        return
    for row in rows:
        head = Text(f"{terminal(row.name)}: ", style="bold")
        head.append(row.outcome.value, style=STYLES[row.outcome])
        head.append(f" after {row.seconds} and {counted(row.connections, 'connection')}")
        console.print(head)
        # The line above has the first four cells already.
        for heading, cell in list(zip(HEADINGS, cells(row), strict=True))[4:]:
            console.print(Text(f"  {heading + ':':24}{terminal(cell)}"), soft_wrap=True)


def show_verdict(trial: Trial, console: Console, *, report: str = "", root: str = "") -> None:
    """A headline and aligned facts (``harness.report.facts``)."""
    verdict = trial.verdict
    if verdict is None:
        console.print("not judged: the run ended before its verdict")
        return
    facts = facts_of(trial, report=report, root=root)
    head = len(facts.head())
    for index, line in enumerate(facts.lines()):
        text = Text(terminal(line, MAX_FACT))
        if index == 0:
            text.stylize(f"bold {STYLES[verdict.outcome]}", 0, len(verdict.outcome.value))
        elif index >= head and not line.startswith(" " * INDENT):
            text.stylize("dim", 0, INDENT)
        console.print(text, soft_wrap=True)
