"""Which tests run a line: from one run of a module's tests with the contexts of coverage.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from coverage import CoverageData

# package → the tests that are run for it; fast ones, in this process, since coverage does not follow children
TESTS = {
    "harness/core": ["tests/core", "tests/reports"],
    "harness/probe": ["tests/edges/test_own_descriptors.py", *(
        f"tests/edges/test_probe_{name}.py" for name in ("census", "cgroup", "hot", "remote", "tree", "recipes")
    )],
    "harness/store": ["tests/edges/test_store_lines.py", "tests/edges/test_store_write.py",
                      "tests/edges/test_store_claim.py", "tests/edges/test_own_descriptors.py"],
    "harness/report": ["tests/reports", "tests/core"],
    "fake_broker": ["tests/fake_broker"],
}  # fmt: skip
MOST = 60  # tests that one mutant is tried on


def package_of(path: str) -> str:
    """The package of a module. Raises ValueError for a module outside of them."""
    for package in TESTS:
        if path.startswith(f"{package}/"):
            return package
    raise ValueError(f"{path}: expected a module of {', '.join(TESTS)}")


def environment(root: Path) -> dict[str, str]:
    """For tests of the copy at ``root``, children included."""
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def pytest_command(*options: str) -> list[str]:
    """pytest, without what costs time here."""
    return [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header",
        "--tb=no", "-m", "not soak and not slow and not conformance", *options,
    ]  # fmt: skip


def files_for(root: Path, path: str) -> list[str]:
    """The test files of a module: those of its package that name it; all of its package where none does."""
    package, dotted = package_of(path), path.removesuffix(".py").replace("/", ".")
    parent, _, name = dotted.rpartition(".")
    named = re.compile(rf"{re.escape(dotted)}\b|from {re.escape(parent)} import [^\n]*\b{re.escape(name)}\b")
    every = [
        file
        for each in TESTS[package]
        for file in (sorted((root / each).glob("test_*.py")) if (root / each).is_dir() else [root / each])
        if file.exists()
    ]
    chosen = [file for file in every if named.search(file.read_text())] or every
    return [str(file.relative_to(root)) for file in chosen]


class Selection:
    """The tests of one module, and the lines of it that each of them runs."""

    def __init__(self, root: Path, path: str) -> None:
        self._root = root
        self._files = files_for(root, path)
        data = root / ".coverage.mutation"
        data.unlink(missing_ok=True)
        cover = path.removesuffix(".py").replace("/", ".")
        command = pytest_command(
            f"--cov={cover}", "--cov-context=test", "--cov-report=", "--timeout=300", *self._files
        )
        done = subprocess.run(
            command,
            cwd=root,
            env={**environment(root), "COVERAGE_FILE": str(data)},
            capture_output=True,
            text=True,
        )
        self.broken = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")]
        if not data.exists():
            raise RuntimeError(
                f"the tests of {path} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        self._data = CoverageData(basename=str(data))
        self._data.read()

    def of(self, path: str, line: int) -> list[str]:
        """The module's own test file and the tests that run a line; of a line that runs when the module is imported,
        every test that runs the module."""
        found: dict[str, int] = defaultdict(int)
        lines = self._data.contexts_by_lineno(str(self._root / path))
        here = [test for test in lines.get(line, []) if test]
        for test in here or [test for tests in lines.values() for test in tests if test]:
            found[test.partition("|")[0].partition("[")[0]] += 1
        # A line may also run while the module's own test file is imported, in its parameters.
        own = [file for file in self._files if Path(file).name == f"test_{Path(path).stem}.py"]
        own = [file for file in own if not any(each.startswith(file) for each in self.broken)]
        usable = [
            test
            for test in found
            if test.partition("::")[0] not in own and not any(each.startswith(test) for each in self.broken)
        ]
        return [*own, *sorted(usable, key=lambda test: (-found[test], test))[:MOST]]
