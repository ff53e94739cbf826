"""The table of docs/sabotage.md, written from the saved results of each run."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.sabotage.case import Result

BEGIN, END = "<!-- table: python -m tests.sabotage -->", "<!-- end of table -->"


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one run. said: the first finding, or the outcome."""

    name: str
    expected: str
    said: str
    wrong: tuple[str, ...]
    seconds: float
    connections: int


def row(result: Result) -> Row:
    """A run as a row."""
    verdict = result.verdict
    said = verdict.outcome.value
    if verdict.findings:
        first = verdict.findings[0]
        rate = f"{first.rate.value:.3g} " if first.rate else ""
        leak = f"{rate}{first.metric}{'/' if first.kind else ''}{first.kind} per {first.driver}"
        said = leak if said == "leaking" else f"{said}; {leak}"
    return Row(
        result.case.name, str(result.case.expected), said, result.wrong, result.seconds, result.connections
    )


def keep(file: Path, one: Row) -> None:
    """Add a row to a file of JSON lines."""
    with file.open("a") as lines:
        lines.write(json.dumps(asdict(one)) + "\n")


def kept(file: Path) -> list[Row]:
    """The rows of such a file; none when there is no file."""
    if not file.exists():
        return []
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [Row(**{**one, "wrong": tuple(one["wrong"])}) for one in found]


def write(document: Path, rows: Sequence[Row]) -> None:
    """Replace what stands between the markers. Raises ValueError when a marker is missing."""
    text = document.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{document.name}: expected the lines {BEGIN} and {END}")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    document.write_text(f"{head}{BEGIN}\n{table(rows)}\n{END}{tail}")


def table(rows: Sequence[Row]) -> str:
    """One line per case: what must be found, how often it was, in how many seconds and connections."""
    wrong = sum(1 for one in rows if one.wrong)
    by_case: dict[str, list[Row]] = {}
    for one in rows:
        by_case.setdefault(one.name, []).append(one)
    lines = [
        f"{len(rows)} runs of {len(by_case)} services, {wrong} wrong verdicts; {_machine()}.",
        "",
        "| service | must be | right | seconds | connections | first finding |",
        "|---|---|---|---|---|---|",
    ]
    for name, seen in by_case.items():
        right = sum(1 for one in seen if not one.wrong)
        shown = next((one for one in seen if one.wrong), seen[0])
        said = shown.said + (f"; **wrong**: {'; '.join(shown.wrong)}" if shown.wrong else "")
        lines.append(
            f"| `{name}` | {seen[0].expected} | {right} of {len(seen)} | "
            f"{_range([one.seconds for one in seen])} | {_range([one.connections for one in seen])} | "
            f"{said.replace('|', '/')[:300]} |"
        )
    return "\n".join(lines)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low}–{high}"


def _machine() -> str:
    day = datetime.datetime.now(datetime.UTC).date()
    cores = len(os.sched_getaffinity(0))
    return f"{day}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"
