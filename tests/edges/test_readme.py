"""The quick start of README works as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.search(r"## Guard your own service\n+```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def quick_start() -> list[str]:
    assert BLOCK, "README has a quick start"
    return [line for line in BLOCK[1].splitlines() if line]


def follow(line: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """One line as a user would type it, with ``more`` options and the environment's commands on the path, as
    activating it puts them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    reports = ["--out", str(folder / "run"), "--quiet", *more]
    where, _, command = line.partition(" -- ")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    words = [*where.split(), *reports, "--", *command.split()]
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    return subprocess.run(
        words,
        cwd=ROOT / "examples",
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_the_quick_start_has_five_lines_of_which_two_guard_an_example() -> None:
    lines = quick_start()
    assert lines[:3] == ["make venv", ". .venv/bin/activate", "cd examples"]
    assert [line.startswith("LEAKY=1 ") for line in lines[3:]] == [False, True]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "more",
    [
        # A smaller load than the reader's, without held clients: on a busy machine they took the time of the search.
        (
            *("--retention", "0", "--hold", "0", "--connections", "60", "--concurrency", "20"),
            *("--settle", "300ms", "--stall-after", "10s"),
        ),
        pytest.param(
            (), marks=pytest.mark.soak(reason="waits a minute for the retention time"), id="as it is"
        ),
    ],
)
def test_the_leaky_one_is_found_at_the_line_that_waits(more: tuple[str, ...], tmp_path: Path) -> None:
    done = follow(quick_start()[4], tmp_path, *more)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "LEAKING" in done.stdout
    # Which of the two it is depends on whether the load meets refusals.
    assert re.search(r"\d asyncio tasks? per (connection|answered stream)\b", done.stdout), done.stdout
    assert re.search(r"where +aiohttp_app\.py:21 +heartbeat", done.stdout)


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_the_healthy_one_passes(tmp_path: Path) -> None:
    done = follow(quick_start()[3], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BOUNDED" in done.stdout
