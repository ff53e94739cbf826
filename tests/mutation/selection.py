"""Which tests run a line: from one run of a package's tests with the contexts of coverage.py."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from coverage import CoverageData

EDGES, CORE = "tests/edges/test_", "tests/core/test_"
# package → the tests that are run for it: fast ones
TESTS = {
    "harness/core": ["tests/core"],
    "harness/probe": [
        f"{EDGES}own_descriptors.py",
        *(
            f"{EDGES}probe_{name}.py"
            for name in ("census", "cgroup", "hot", "remote", "tree", "recipes", "watch")
        ),
        *(
            f"{CORE}probe_{name}.py"
            for name in ("orders", "readings", "remote_sampler", "tables", "watch_view")
        ),
    ],
    "harness/store": [
        *(f"{EDGES}store_{name}.py" for name in ("lines", "write", "claim", "run", "folder_limit")),
        f"{EDGES}own_descriptors.py",
    ],
    # Of tests/core, what it says of reports.
    "harness/report": [
        "tests/reports",
        *(
            f"{CORE}{name}.py"
            for name in (
                *("after_verdict", "claims", "github", "history_entries", "trends"),
                *("quote", "reasoning", "schema", "units"),
            )
        ),
    ],
    "fake_broker": ["tests/fake_broker"],
}
# Of them, those that start the package as a process, which coverage does not follow: every mutant is tried on them.
STARTING = {
    "harness/probe": ("probe_remote", "probe_watch"),
    "fake_broker": ("broker_process", "broker_transport", "broker_faults"),
}
MOST = 300  # tests that one mutant is tried on
PINNED = "/test_pinned.py"  # of what a package decides on many inputs: tried on every mutant, as a whole
# pytest, without what costs time here
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", "--tb=no", "-m",
           "(not soak and not slow and not conformance and not browser) or pinned")  # fmt: skip
LONGEST = 200.0  # seconds of them altogether, as measured with coverage


def package_of(path: str) -> str:
    """The package of a module. Raises ValueError for a module outside of them."""
    for package in TESTS:
        if path.startswith(f"{package}/"):
            return package
    raise ValueError(f"{path}: expected a module of {', '.join(TESTS)}")


def environment(root: Path) -> dict[str, str]:
    """For tests of the copy at ``root``, children included."""
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "0"}


def files_for(root: Path, package: str) -> list[str]:
    """The test files of a package."""
    found = [
        file
        for each in TESTS[package]
        for file in (sorted((root / each).glob("test_*.py")) if (root / each).is_dir() else [root / each])
        if file.exists()
    ]
    return [str(file.relative_to(root)) for file in found]


class Selection:
    """The tests of one package, how long each takes, and the lines that each of them runs."""

    def __init__(self, root: Path, package: str) -> None:
        self._root = root
        self._starting = STARTING.get(package, ())
        files = files_for(root, package)
        pinned = [file for file in files if file.endswith(PINNED)]
        files = [file for file in files if file not in pinned]
        data, report = root / ".coverage.mutation", root / "mutation.xml"
        data.unlink(missing_ok=True)
        report.unlink(missing_ok=True)
        cover = package.replace("/", ".")
        command = [
            sys.executable, "-m", "pytest", *OPTIONS, f"--cov={cover}", "--cov-context=test", "--cov-report=",
            "--timeout=300", f"--junitxml={report}",
            "-o", "junit_family=xunit1", *files,
        ]  # fmt: skip
        done = subprocess.run(
            command,
            cwd=root,
            env={**environment(root), "COVERAGE_FILE": str(data)},
            capture_output=True,
            text=True,
        )
        if not data.exists() or not report.exists():
            raise RuntimeError(
                f"the tests of {package} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        self._seconds, self.broken = durations(ElementTree.parse(report).getroot())
        # Under coverage they would take minutes, and there is hardly a line that they do not run.
        for file in pinned:
            command = [sys.executable, "-m", "pytest", *OPTIONS, "-x", "--no-cov", file]
            done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True)
            self.broken += [file] if done.returncode else []
        self._pinned = set(pinned) - set(self.broken)
        self._data = CoverageData(basename=str(data))
        self._data.read()

    def of(self, path: str, line: int) -> list[str]:
        """The tests that run a line, those that start the package, and the pinned ones. Of a line that runs when the
        module is imported, or in no test's own process, every test that runs the module. The module's own come first,
        then the pinned ones, then the fastest."""
        lines = self._data.contexts_by_lineno(str(self._root / path))
        every = {test for test in lines.get(line, []) if test}
        if not every:
            every = {test for tests in lines.values() for test in tests if test}
        every |= {test for test in self._seconds if _stem(test).removeprefix("test_") in self._starting}
        names = {test.partition("|")[0].partition("[")[0] for test in every} & self._seconds.keys() - set(
            self.broken
        )
        return ranked(names | self._pinned, self._seconds, Path(path).stem)


def _stem(test: str) -> str:
    return Path(test.partition("::")[0]).stem


def ranked(names: Iterable[str], seconds: Mapping[str, float], stem: str) -> list[str]:
    """The tests that a mutant of the module ``stem`` is tried on, in their order. seconds: test → seconds."""
    ordered = sorted(
        names,
        key=lambda name: (
            stem not in name.partition("::")[0],
            PINNED not in name,
            seconds.get(name, 0.0),
            name,
        ),
    )
    chosen, total = [], 0.0
    for name in ordered[:MOST]:
        total += seconds.get(name, 0.0)
        if chosen and total > LONGEST:
            break
        chosen.append(name)
    return chosen


def durations(report: Element) -> tuple[dict[str, float], list[str]]:
    """test function → seconds of all its cases, and the functions that failed, from a JUnit report (xunit1)."""
    seconds: dict[str, float] = defaultdict(float)
    broken = set()
    for case in report.iter("testcase"):
        file, name = case.get("file", ""), case.get("name", "").partition("[")[0]
        inner = case.get("classname", "").removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".")
        test = "::".join(part for part in (file, inner.replace(".", "::"), name) if part)
        seconds[test] += float(case.get("time", 0.0))
        if case.find("failure") is not None or case.find("error") is not None:
            broken.add(test)
    return dict(seconds), sorted(broken)
