"""Run the table several times and write the results: ``python -m tests.sabotage [--repeat N] [NAME …]``.

Exit code 1 when a verdict was wrong; its run directory is kept and named. Without NAME all rows are run, and the table
in docs/sabotage.md is written again; rows that are chosen by name are only printed. With --add-to FILE each run is
added to a file, and the table is written from all that is in it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.sabotage.beyond import BEYOND
from tests.sabotage.case import Case, Green, Result, run
from tests.sabotage.document import keep, kept, row, write
from tests.sabotage.reference import REFERENCE
from tests.sabotage.table import TABLE

DOCUMENT = Path(__file__).parents[2] / "docs" / "sabotage.md"


def chosen(names: Sequence[str]) -> list[Case]:
    """Rows by name or by the beginning of a name. Raises SystemExit for one that fits none."""
    every = (*TABLE, *BEYOND, *REFERENCE)
    if not names:
        return list(every)
    for name in names:
        if not any(case.name.startswith(name) for case in every):
            raise SystemExit(f"{name!r}: no such row; expected the beginning of one, such as {every[0].name}")
    return [case for case in every if any(case.name.startswith(name) for name in names)]


def runs(cases: Sequence[Case], repeat: int, benign: int, jobs: int, folder: Path) -> Iterator[Result]:
    """Each case ``repeat`` times, the whole table before the next round."""

    def once(turn: tuple[int, Case]) -> Result:
        number, case = turn
        return run(case, folder / f"{number}-{case.name.replace('/', ':')}", seed=number)

    turns = [
        (number, case)
        for number in range(max(repeat, benign))
        for case in cases
        if number < (benign if isinstance(case.expected, Green) else repeat)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(once, turns)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--repeat", type=int, default=1, help="times that each leak is run [1]")
    parser.add_argument(
        "--benign", type=int, default=None, help="times that each benign service is run [as --repeat]"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="guards side by side, which disturb each other [1]"
    )
    parser.add_argument(
        "--keep", type=Path, default=None, help="folder for all run directories [only the wrong ones]"
    )
    parser.add_argument("--add-to", type=Path, default=None, metavar="FILE", help="keep a line per run here")
    options = parser.parse_args(arguments)
    cases = chosen(options.names)
    benign = options.repeat if options.benign is None else options.benign
    folder = options.keep or Path(tempfile.mkdtemp(prefix="sabotage-"))
    results: list[Result] = []
    began = time.monotonic()
    for result in runs(cases, options.repeat, benign, options.jobs, folder):
        results.append(result)
        print(line(result), flush=True)
        if options.add_to:
            keep(options.add_to, row(result))
        for text in result.wrong:
            print(f"    {text}\n    {result.folder}", flush=True)
        if not result.wrong and options.keep is None:
            shutil.rmtree(result.folder, ignore_errors=True)
    wrong = [result for result in results if result.wrong]
    print(f"{len(results)} runs, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    if options.add_to or not options.names:
        write(DOCUMENT, kept(options.add_to) if options.add_to else [row(result) for result in results])
    return 1 if wrong else 0


def line(result: Result) -> str:
    """``ok    3.4 s    900 asyncio-eventfd@connection: 1 fds/eventfd per connection``"""
    word = "WRONG" if result.wrong else "ok"
    return f"{word:5} {result.seconds:5.1f} s {result.connections:6d} {result.case.name}: {row(result).said}"


if __name__ == "__main__":
    sys.exit(main())
