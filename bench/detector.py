"""How often the judge is wrong, and how often the rules in use are: on simulated and recorded services.

python -m bench.detector [--runs N] [--quick] [--only TEXT] [--json FILE] [--no-write] [--calibrate]

Every run is seeded. Under ours the plan drives the service to its end and the judge has its word; the others
see 26 cycles of 300 connections. The tables are written into docs/detector.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from bench import _kinds
from bench._calibrate import calibrate
from bench._rivals import LONGEST, RIVALS
from bench._services import Kind, run, trace
from harness.core.judge import judge
from harness.core.metric import Judged
from harness.core.stats import median
from harness.core.verdict import Outcome

PAGE = Path(__file__).parent.parent / "docs" / "detector.md"
MARKS = ("<!-- measured: begin (python -m bench.detector) -->", "<!-- measured: end -->")
RUNS, QUICK = 1000, 100
CHUNK = 50
ALARMS = {"counts": 0.001, "memory": 0.01}  # of healthy runs
FOUND = {"counts": 0.99, "objects": 0.99, "memory": 0.95, "idle-cpu": 0.95}
RIGHT = 0.98  # of the leaks found, by their driver
COVERED = (0.93, 0.97)  # of the true rates, by the 95 % interval: all rows together, and no row below


@dataclass(slots=True)
class Cell:
    """What came of one kind of service, the index-th of its group: a kind itself cannot be sent between processes."""

    group: str
    index: int
    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    drivers: Counter[str] = field(default_factory=Counter)
    covered: int = 0
    rated: int = 0
    below: int = 0
    rivals: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """The service."""
        return GROUPS[self.group][self.index]

    @property
    def found(self) -> float:
        """Share of the runs called leaking; of a healthy one: wrongly."""
        return (self.outcomes["leaking"] - self.drivers[self.kind.true or "none"]) / self.runs

    @property
    def right(self) -> float:
        """Share of the leaks found whose driver is the true one."""
        return self.drivers[self.kind.leaks or ""] / max(1, self.outcomes["leaking"])

    def add(self, other: Cell) -> None:
        """Merge what another process saw of the same kind."""
        self.runs += other.runs
        self.outcomes += other.outcomes
        self.drivers += other.drivers
        self.covered += other.covered
        self.rated += other.rated
        self.below += other.below
        self.rivals += other.rivals
        self.seconds += other.seconds


GROUPS: dict[str, Sequence[Kind]] = {
    "healthy counts": _kinds.HEALTHY_COUNTS,
    "leaking counts": _kinds.LEAKING_COUNTS,
    "healthy memory": _kinds.HEALTHY_MEMORY,
    "leaking memory": _kinds.LEAKING_MEMORY,
}


def measure(job: tuple[str, int, int, int]) -> Cell:
    """Some runs of one kind: group, index in it, first seed, number of runs."""
    group, index, first, runs = job
    kind = GROUPS[group][index]
    cell = Cell(group, index, runs)
    exact = kind.key.judged is Judged.EXACT
    for seed in range(first, first + runs):
        trial = run(kind, seed)
        verdict = judge(trial)
        cell.outcomes[verdict.outcome.value] += 1
        cell.seconds.append(trial.ended)
        if verdict.outcome is Outcome.LEAKING:
            found = next((f for f in verdict.findings if f.metric == kind.key.metric), verdict.findings[0])
            cell.drivers[found.driver or ""] += 1
            if found.driver == kind.leaks and found.rate and not math.isnan(kind.rate):
                cell.rated += 1
                cell.covered += found.rate.low <= kind.rate <= found.rate.high
                cell.below += found.rate.high < kind.rate
        levels = trace(kind, seed, cycles=LONGEST, connections=300)
        for name, rule in RIVALS.items():
            cell.rivals[name] += rule(levels, exact)
    return cell


def measure_all(runs: int, only: str) -> dict[str, list[Cell]]:
    """Every kind, on every core."""
    jobs = [
        (group, index, first, min(CHUNK, runs - first))
        for group, kinds in GROUPS.items()
        for index, kind in enumerate(kinds)
        if only in f"{group}: {kind.name}"
        for first in range(0, runs, CHUNK)
    ]
    cells: dict[tuple[str, int], Cell] = {}
    with get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        for cell in pool.imap_unordered(measure, jobs):
            if (before := cells.setdefault((cell.group, cell.index), cell)) is not cell:
                before.add(cell)
    return {group: [cells[g, i] for g, i in sorted(cells) if g == group] for group in GROUPS}


def percent(share: float) -> str:
    """``0``, ``0.1``, ``12``, ``100``: as few digits as tell it apart from its neighbours."""
    value = 100 * share
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def limit(group: str, kind: Kind) -> float:
    """The goal of one cell: most alarms, or fewest finds."""
    if group.startswith("healthy"):
        return ALARMS["memory" if kind.key.judged is Judged.NOISY else "counts"]
    name = kind.key.kind if kind.key.kind in FOUND else kind.key.metric
    return FOUND.get(name, FOUND["counts"])


def table(group: str, cells: Sequence[Cell]) -> list[str]:
    """One Markdown table."""
    healthy = group.startswith("healthy")
    head = ["service", "ours", *([] if healthy else ["driver right", "95 % covers"])]
    head += ["passed" if healthy else "missed", "seconds", *RIVALS]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for cell in cells:
        row = [cell.kind.name, f"**{percent(cell.found)}**"]
        if not healthy:
            known = cell.rated > 0
            row += [percent(cell.right), percent(cell.covered / cell.rated) if known else "–"]
        row += [percent(cell.outcomes["bounded"] / cell.runs), f"{median(cell.seconds):.0f}"]
        row += [percent(cell.rivals[name] / cell.runs) for name in RIVALS]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def rows_of(results: dict[str, list[Cell]]) -> list[dict[str, object]]:
    """The goals, cell by cell, and the two that hold over all of them."""
    rows: list[dict[str, object]] = []

    def row(metric: str, value: float, target: float, holds: bool, rival: float, name: str) -> None:
        rows.append(
            {
                "metric": metric, "value": round(value, 5), "unit": "share of runs", "rival": name,
                "rival_value": round(rival, 5), "ratio": round(value / rival, 4) if rival else None,
                "target": target, "holds": holds,
            }
        )  # fmt: skip

    for group, cells in results.items():
        healthy = group.startswith("healthy")
        for cell in cells:
            goal = limit(group, cell.kind)
            tell = min if healthy else max
            name = tell(RIVALS, key=lambda n: cell.rivals[n])  # the best of the others
            holds = cell.found <= goal if healthy else cell.found >= goal
            row(f"{group}: {cell.kind.name}", cell.found, goal, holds, cell.rivals[name] / cell.runs, name)
            if not healthy and cell.rated:
                share = cell.covered / cell.rated
                row(f"{group}: {cell.kind.name}, 95 % covers", share, COVERED[0], share >= COVERED[0], 0.0,
                    "none gives one")  # fmt: skip
    leaks = [cell for group, cells in results.items() if group.startswith("leaking") for cell in cells]
    found = sum(cell.outcomes["leaking"] for cell in leaks)
    if found:
        right = sum(cell.drivers[cell.kind.leaks or ""] for cell in leaks) / found
        row("driver right", right, RIGHT, right >= RIGHT, 0.0, "none names one")
    rated = sum(cell.rated for cell in leaks)
    if rated:
        share = sum(cell.covered for cell in leaks) / rated
        row("rate's 95 % interval covers the truth", share, COVERED[0], COVERED[0] <= share <= COVERED[1], 0.0,
            "none gives one")  # fmt: skip
    return rows


def page(results: dict[str, list[Cell]], rows: Sequence[dict[str, object]], runs: int) -> str:
    """What stands between the marks of docs/detector.md."""
    lines = [
        f"{runs:,} runs a row; figures in percent of them, time in seconds of the simulated run (median)."
    ]
    for group, cells in results.items():
        lines += ["", f"### {group.capitalize()}", "", *table(group, cells)]
    lines += ["", "### Over all leaks", ""]
    lines += [
        f"- {r['metric']}: {percent(float(str(r['value'])))} %" for r in rows if ": " not in str(r["metric"])
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the tables into the document, between its marks."""
    whole = PAGE.read_text()
    before, rest = whole.split(MARKS[0], 1)
    _, after = rest.split(MARKS[1], 1)
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


def main() -> None:
    """Measure, print, write, and exit 1 where a goal is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, help=f"runs a row [{RUNS}]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs a row; nothing is written")
    parser.add_argument("--only", default="", help="rows whose name holds this text; nothing is written")
    parser.add_argument("--calibrate", action="store_true", help="what noise alone reaches, and no table")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-write", action="store_true", help="leave docs/detector.md as it is")
    options = parser.parse_args()
    if options.calibrate:
        sys.exit(0 if calibrate() else 1)
    runs = options.runs or (QUICK if options.quick else RUNS)
    start = time.monotonic()
    results = measure_all(runs, options.only)
    rows = rows_of(results)
    text = page(results, rows, runs)
    print(text)
    for cells in results.values():
        for cell in cells:
            wrong = {d: n for d, n in cell.drivers.items() if d != cell.kind.leaks}
            other = dict(cell.outcomes)
            late = sorted(cell.seconds)[int(0.95 * len(cell.seconds))]
            print(f"{cell.kind.name:42} {other} 95 % within {late:.0f} s{f' wrong driver {wrong}' if wrong else ''}"
                  f"{f' above {cell.below}/{cell.rated}' if cell.rated else ''}")  # fmt: skip
    bad = [str(row["metric"]) for row in rows if not row["holds"]]
    print(
        f"{time.monotonic() - start:.0f} s; " + (f"not reached: {'; '.join(bad)}" if bad else "all reached")
    )
    if not (options.quick or options.only or options.no_write):
        write(text)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
