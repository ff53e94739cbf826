"""``make mutation``: how many small changes of the source the tests notice.

    python -m tests.mutation [MODULE or PACKAGE …] [--sample N] [--seed S] [--write]

Each mutant is tried in a copy of the project, on the fast tests that run its line. Without arguments every package is
tried, a seeded sample of each. Figures are kept in docs/mutation.json; docs/mutation.md is made of them.
"""

from __future__ import annotations

import argparse
import compileall
import json
import shutil
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING

from tests.mutation.document import SCORES, kept, page, summary
from tests.mutation.runner import Runner
from tests.mutation.selection import OPTIONS, TESTS, Selection, environment, package_of

if TYPE_CHECKING:
    from tests.mutation.mutants import Mutant

ROOT = Path(__file__).parents[2]
COPIED = ("harness", "fake_broker", "tests", "bench", "docs", "examples", "tools", "locustfiles", "reports")
FILES = ("pyproject.toml", "README.md", "budgets.toml", "Makefile", "constraints.txt", "CONTRIBUTING.md")
SAMPLE = 120  # mutants of one package
TIMEOUT = 60.0  # seconds for one test: one that hangs notices the mutant too
FIRST = 12  # tests that are run before the others: most mutants need no more, and collecting many files costs seconds


def modules(chosen: list[str]) -> list[str]:
    """Paths of modules. Raises ValueError for what is no module of a package."""
    found: list[str] = []
    for each in chosen or list(TESTS):
        path = ROOT / each
        if not path.exists():
            raise ValueError(f"{each}: no such file; expected a module or a package of {', '.join(TESTS)}")
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [str(file.relative_to(ROOT)) for file in files if file.stat().st_size > 100]
    return sorted(set(found), key=lambda each: (list(TESTS).index(package_of(each)), each))


def noticed(runner: Runner, root: Path, path: str, mutant: Mutant, tests: list[str]) -> bool:
    """Whether a test fails, or hangs, with the mutant in place."""
    file = root / path
    original = file.read_text()
    file.write_text(mutant.source)
    options = [*OPTIONS, "-x", "--no-cov", f"--timeout={TIMEOUT:.0f}"]
    try:
        return any(
            runner.run([*options, *some], 10 * TIMEOUT) not in (0, 5)
            for some in (tests[:FIRST], tests[FIRST:])
            if some
        )
    finally:
        file.write_text(original)


def try_package(root: Path, package: str, paths: list[str], size: int, seed: int) -> dict[str, object]:
    """The figures of the modules of one package."""
    # Here, because each worker of pytest-xdist imports this module: libcst took a sixth of a collection.
    from tests.mutation.mutants import sample

    selection, start = Selection(root, package), time.monotonic()
    for test in selection.broken:
        print(f"fails without a mutant, left out: {test}", flush=True)
    chosen, exist = sample({path: (root / path).read_text() for path in paths}, size, seed)
    survivors = []
    with Runner(root, environment(root)) as runner:
        for number, (path, mutant) in enumerate(chosen, 1):
            tests = selection.of(path, mutant.line)
            if not tests or not noticed(runner, root, path, mutant, tests):
                untested = "" if tests else " (no test runs this line)"
                survivors.append({"path": path, "line": mutant.line, "change": mutant.name + untested})
                print(f"  {path}:{mutant.line}: {mutant.name}{untested}", flush=True)
            if number % 10 == 0:
                left = number - len(survivors)
                print(f"{package}: {left} of {number} noticed, {time.monotonic() - start:.0f} s", flush=True)
    return {
        "mutants": exist, "tried": len(chosen), "killed": len(chosen) - len(survivors), "seed": seed,
        "survivors": survivors, "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip


def main() -> int:
    """Exit code 1 where a package is below its goal."""
    parser = argparse.ArgumentParser(prog="make mutation", description=__doc__.splitlines()[0])
    parser.add_argument("chosen", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}; default: all")
    parser.add_argument(
        "--sample", type=int, default=SAMPLE, help="mutants tried of each package (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default %(default)s)")
    parser.add_argument(
        "--write", action="store_true", help="keep the figures in docs/mutation.json and mutation.md"
    )
    given = parser.parse_args()
    try:
        paths = modules(given.chosen)
    except ValueError as error:
        parser.error(str(error))
    if given.write and not set(given.chosen) <= set(TESTS):
        parser.error(f"--write with {' '.join(given.chosen)}: expected whole packages of {', '.join(TESTS)}")
    file = ROOT / SCORES
    tried: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        root = Path(folder)
        copy(root)
        for package, some in groupby(paths, package_of):
            found = tried[package] = try_package(root, package, list(some), given.sample, given.seed)
            if given.write:
                scores: dict[str, dict[str, object]] = json.loads(file.read_text()) if file.exists() else {}
                scores[package] = kept(scores, package, found)
                file.write_text(json.dumps(dict(sorted(scores.items())), indent=1, ensure_ascii=False) + "\n")
                (ROOT / "docs" / "mutation.md").write_text(page(scores))
    lines, below = summary(tried)
    print("\n".join(lines))
    return 1 if below else 0


def copy(root: Path) -> None:
    """What the tests need, at ``root``."""
    for name in (*COPIED, ".github", ".ci"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, root / name)
    # Checked by their hashes, the compiled modules are right also where a mutant has the size and the second of its
    # original; without them every mutant would compile the project anew.
    for name in ("harness", "fake_broker", "tests"):
        compileall.compile_dir(root / name, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)


if __name__ == "__main__":
    sys.exit(main())
