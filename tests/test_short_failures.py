"""A failure of any size names its test in the log, and takes little of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import short_failures

ROOT = Path(short_failures.__file__).parents[1]
SUITE = """
def test_large():
    print("from the start" + "y" * 500_000 + "to the end")
    assert {n: "x" * 50 for n in range(5000)} == {n: "x" * 49 for n in range(5000)}

def test_long_text():
    assert "missing" in "x" * 400_000

def test_chained():
    try:
        raise ValueError("cause\\n" * 50_000)
    except ValueError as error:
        raise RuntimeError("effect\\n" * 50_000) from error

def test_small():
    assert {"a": 1, "b": [2, 3]} == {"a": 1, "b": [2, 4]}
"""


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")])
def test_a_large_comparison_takes_little_of_the_log(tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_some.py").write_text(SUITE)
    options = (
        "-q",
        "-ra",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.short_failures",
        "--rootdir",
        str(tmp_path),
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *workers, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "CI": "true", "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stdout) < 60_000, "pytest alone prints megabytes, and takes minutes"
    body, _, summary = done.stdout.partition("short test summary info")
    lines = [line for line in summary.splitlines() if line.startswith("FAILED")]
    names = [line.partition("::")[2].split()[0] for line in lines]
    assert names == ["test_large", "test_long_text", "test_chained", "test_small"]
    assert all(len(line) <= short_failures.WIDTH for line in lines)
    assert "'b': [2, 4]" in lines[3], "more than the 80 characters of a terminal"
    assert "RuntimeError: effect" in lines[2]
    assert "more lines)" in body
    assert "from the start" in body
    assert "to the end" in body
    assert "cause" in body


def test_a_small_failure_is_printed_whole() -> None:
    lines = [f"E   line {n}" for n in range(short_failures.LINES)]
    assert short_failures.without_middle(lines) == lines
    assert short_failures.without_middle([*lines, "E   last"])[-1] == "E   last"
    assert len(short_failures.without_middle([*lines, "E   last"])) == short_failures.LINES + 1
    assert short_failures.first_line("") == ""
    assert short_failures.first_line("one\ntwo") == "one"
    assert short_failures.short_output("x" * 20_000) == "x" * 20_000
