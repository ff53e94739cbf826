"""The table of docs/sabotage.md, written from results."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from tests.sabotage.case import Result

BEGIN, END = "<!-- table: python -m tests.sabotage -->", "<!-- end of table -->"


def write(document: Path, results: Sequence[Result]) -> None:
    """Replace what stands between the markers. Raises ValueError when a marker is missing."""
    text = document.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{document.name}: expected the lines {BEGIN} and {END}")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    document.write_text(f"{head}{BEGIN}\n{table(results)}\n{END}{tail}")


def table(results: Sequence[Result]) -> str:
    """One row per case: what must be found, how often it was, in how many seconds and connections."""
    wrong = sum(1 for result in results if result.wrong)
    by_case: dict[str, list[Result]] = {}
    for result in results:
        by_case.setdefault(result.case.name, []).append(result)
    lines = [
        f"{len(results)} runs of {len(by_case)} services, {wrong} wrong verdicts; {_machine()}.",
        "",
        "| service | must be | right | seconds | connections | said first |",
        "|---|---|---|---|---|---|",
    ]
    for name, seen in by_case.items():
        right = sum(1 for result in seen if not result.wrong)
        seconds = sorted(result.seconds for result in seen)
        opened = sorted(result.connections for result in seen)
        lines.append(
            f"| `{name}` | {seen[0].case.expected} | {right} of {len(seen)} | {_range(seconds)} | "
            f"{_range(opened)} | {_said(next((r for r in seen if r.wrong), seen[0]))} |"
        )
    return "\n".join(lines)


def _range(values: Sequence[float]) -> str:
    low, high = f"{values[0]:.0f}", f"{values[-1]:.0f}"
    return low if low == high else f"{low}–{high}"


def _said(result: Result) -> str:
    verdict = result.verdict
    if not verdict.findings:
        return verdict.outcome.value + (f": {'; '.join(result.wrong)}" if result.wrong else "")
    first = verdict.findings[0]
    rate = f"{first.rate.value:.3g} " if first.rate else ""
    said = f"{rate}{first.metric}{'/' if first.kind else ''}{first.kind} per {first.driver}"
    return said + (f"; wrong: {'; '.join(result.wrong)}" if result.wrong else "")


def _machine() -> str:
    day = datetime.datetime.now(datetime.UTC).date()
    cores = len(os.sched_getaffinity(0))
    return f"{day}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"
