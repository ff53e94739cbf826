"""Which tests run a line: from one run of a package's tests with the contexts of coverage.py."""

from __future__ import annotations

import os
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


class Selection:
    """The tests of one package, and the lines that each of them runs."""

    def __init__(self, root: Path, package: str) -> None:
        self._root = root
        data = root / f".coverage.{package.replace('/', '-')}"
        cover = package.replace("/", ".")
        command = pytest_command(
            f"--cov={cover}", "--cov-context=test", "--cov-report=", "--timeout=300", *TESTS[package]
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
                f"the tests of {package} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        self._data = CoverageData(basename=str(data))
        self._data.read()

    def of(self, path: str, line: int) -> list[str]:
        """The tests that run a line, those of the module's own test file first; of a line that runs when the
        module is imported, every test that runs the module."""
        found: dict[str, int] = defaultdict(int)
        lines = self._data.contexts_by_lineno(str(self._root / path))
        here = [test for test in lines.get(line, []) if test]
        for test in here or [test for tests in lines.values() for test in tests if test]:
            found[test.partition("|")[0].partition("[")[0]] += 1
        own = Path(path).stem
        usable = [test for test in found if not any(each.startswith(test) for each in self.broken)]
        ranked = sorted(
            usable, key=lambda test: (f"test_{own}.py" not in test, own not in test, -found[test], test)
        )
        return ranked[:MOST]
