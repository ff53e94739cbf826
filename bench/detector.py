"""Measures how often the judge is wrong, and how often the rules of other tools are, on simulated and recorded
services.

python -m bench.detector [--runs N] [--quick] [--rows REGEX] [--held-back without|with|only] [--jobs N] [--seed N]
                         [--json FILE] [--no-write] [--calibrate]

Every run is seeded. For our rules the plan drives the service until it stops, and the judge gives its verdict; the
others see 26 cycles of 300 connections. Rows that are held back from tuning run only when --held-back names them. Do
not run them while a rule is being chosen. A run of all rows writes its tables into docs/detector.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from bench import _kinds_held_back
from bench._calibrate import calibrate
from bench._detector_cells import GROUPS, Cell, Results
from bench._detector_page import page, rows_of, summary
from bench._rivals import MAX_READINGS, RIVALS
from bench._services import LONGER, run, trace
from harness.core.judge.trial import judge
from harness.core.metric import Judged
from harness.core.verdict import Outcome, Rate

PAGE = Path(__file__).parent.parent / "docs" / "detector.md"
MARKS = ("<!-- measured: begin (python -m bench.detector) -->", "<!-- measured: end -->")
RUNS, QUICK = 1000, 100
CHUNK = 25
SAVE = 10.0  # seconds between two lines of progress
HELD_BACK = ("without", "with", "only")


def rows_chosen(rows: str, held_back: str) -> list[tuple[str, int]]:
    """Group and index of each row whose ``GROUP: NAME`` matches a regular expression."""
    wanted = {"without": (False,), "with": (False, True), "only": (True,)}[held_back]
    return [
        (group, index)
        for group, kinds in GROUPS.items()
        for index, kind in enumerate(kinds)
        if kind.held_back in wanted and re.search(rows, f"{group}: {kind.name}")
    ]


def per_second(rate: Rate) -> tuple[float, float]:
    """The interval of a rate; one over time in units a second, as the kinds have it."""
    seconds = 3600.0 if rate.unit.endswith("/hour") else 1.0
    return rate.low / seconds, rate.high / seconds


def measure(job: tuple[str, int, int, int]) -> Cell:
    """Some runs of one kind: group, index in it, first seed, number of runs."""
    group, index, first, runs = job
    kind = GROUPS[group][index]
    cell = Cell(group, index, runs)
    exact = kind.key.judged is Judged.EXACT
    if kind.held_back:
        first += _kinds_held_back.FIRST_SEED
    for seed in range(first, first + runs):
        trial = run(kind, seed)
        verdict = judge(trial)
        cell.outcomes[verdict.outcome.value] += 1
        if kind.longer:
            more = replace(kind, goal=replace(kind.goal, max_seconds=LONGER))
            cell.longer[judge(run(more, seed)).outcome.value] += 1
        cell.seconds.append(trial.ended)
        if verdict.outcome is Outcome.LEAKING:
            found = next((f for f in verdict.findings if f.metric == kind.key.metric), verdict.findings[0])
            right = found.driver in (kind.leaks, *kind.others)
            cell.drivers[(kind.leaks if right else found.driver) or ""] += 1
            # The true rate is one per unit of the first driver; per unit of another that is right it is another.
            if found.driver == kind.leaks and found.rate and not math.isnan(kind.rate):
                low, high = per_second(found.rate)
                cell.rated += 1
                cell.covered += low <= kind.rate <= high
                cell.below += high < kind.rate
        levels = trace(kind, seed, cycles=MAX_READINGS, connections=300)
        for name, rule in RIVALS.items():
            cell.rivals[name] += rule(levels, exact)
    return cell


def measure_all(
    chosen: Sequence[tuple[str, int]],
    runs: int,
    jobs: int,
    seed: int,
    save: Callable[[Results, int, int], None],
) -> Results:
    """Measure each row N times on ``jobs`` processes. save: called at intervals with the results so far, the chunks
    that are done and all chunks."""
    # Row by row within each round of chunks: an interrupted measurement has every row about equally often.
    chunks = [
        (group, index, seed + first, min(CHUNK, runs - first))
        for first in range(0, runs, CHUNK)
        for group, index in chosen
    ]
    cells: dict[tuple[str, int], Cell] = {}
    done, saved = 0, time.monotonic()

    def sorted_cells() -> Results:
        return {group: [cells[g, i] for g, i in sorted(cells) if g == group] for group in GROUPS}

    with get_context("fork").Pool(jobs) as pool:
        for cell in pool.imap_unordered(measure, chunks):
            if (before := cells.setdefault((cell.group, cell.index), cell)) is not cell:
                before.add(cell)
            done += 1
            if time.monotonic() - saved >= SAVE:
                save(sorted_cells(), done, len(chunks))
                saved = time.monotonic()
    return sorted_cells()


def write(text: str) -> None:
    """Put the tables into the document, between its marks."""
    whole = PAGE.read_text()
    before, rest = whole.split(MARKS[0], 1)
    _, after = rest.split(MARKS[1], 1)
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.detector", description=__doc__)
    parser.add_argument("--runs", type=int, help=f"runs a row [{RUNS}]")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs a row; nothing is written")
    parser.add_argument(
        "--rows",
        default="",
        metavar="REGEX",
        help="only rows whose 'GROUP: NAME' matches; nothing is written",
    )
    parser.add_argument(
        "--held-back", choices=HELD_BACK, default="without", help="rows held back from tuning [without]"
    )
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes [all cores]"
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed [0]")
    parser.add_argument(
        "--calibrate", action="store_true", help="print what noise alone reaches, and no table"
    )
    parser.add_argument("--json", type=Path, help="write the rows here, also while the measurement runs")
    parser.add_argument("--no-write", action="store_true", help="leave docs/detector.md as it is")
    options = parser.parse_args(arguments)
    try:
        re.compile(options.rows)
    except re.error as error:
        parser.error(f"--rows {options.rows!r}: expected a regular expression: {error}")
    for name in ("runs", "jobs"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} {value}: expected at least 1")
    return options


def write_json(file: Path | None, rows: Sequence[dict[str, object]]) -> None:
    """Replace the file as a whole, so that an interruption leaves the last complete one."""
    if file:
        partial = file.with_name(f"{file.name}.partial")
        partial.write_text(json.dumps(rows, indent=1) + "\n")
        partial.replace(file)


def main() -> None:
    """Measure, print, write, and exit 1 when a goal is missed."""
    options = options_of()
    if options.calibrate:
        sys.exit(0 if calibrate() else 1)
    runs = options.runs or (QUICK if options.quick else RUNS)
    chosen = rows_chosen(options.rows, options.held_back)
    if not chosen:
        sys.exit(
            f"--rows {options.rows!r}: no row matches; expected part of a name such as 'swept every 30 s'"
        )
    start = time.monotonic()

    def save(results: Results, done: int, chunks: int) -> None:
        passed = time.monotonic() - start
        left = passed / done * (chunks - done)
        print(
            f"{done} of {chunks} chunks, {passed:.0f} s, about {left:.0f} s left", file=sys.stderr, flush=True
        )
        write_json(options.json, rows_of(results))

    results = measure_all(chosen, runs, options.jobs, options.seed, save)
    rows = rows_of(results)
    text = page(results, rows, runs)
    print(text)
    for cells in results.values():
        for cell in cells:
            print(summary(cell))
    bad = [str(row["metric"]) for row in rows if not row["holds"]]
    print(
        f"{time.monotonic() - start:.0f} s; " + (f"not reached: {'; '.join(bad)}" if bad else "all reached")
    )
    whole = not options.rows and options.held_back == "with"
    if whole and not (options.quick or options.no_write):
        write(text)
    write_json(options.json, rows)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
