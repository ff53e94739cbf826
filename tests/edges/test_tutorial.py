"""The tutorial works as written: its service leaks, its test fails, its fix makes the test pass."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli import cli
from tests.edges.command_line import environment
from tests.short_start import WITHOUT

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
BLOCK = re.compile(r'^```python title="([^"]+)"[^\n]*\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# A smaller load than the reader's: what the test checks shows in it too.
SMALLER = (
    'sensitivity="1/20", hold=0, connections=60, concurrency=60, dwell=0.3, settle=0.2, stall_after=30.0,'
)
FUNCTION = re.compile(r"^async def stream\(\).*?(?=\n\n\n|\Z)", re.MULTILINE | re.DOTALL)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """The tutorial's pytest command."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test_app.py",
    ]
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=230,
        env=environment(PYTEST_ADDOPTS=WITHOUT),
    )


@pytest.mark.usefixtures("own_lock")
@pytest.mark.timeout(480)
def test_the_service_leaks_and_the_fix_makes_the_test_pass(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    (app, leaky), (name, test), (again, fixed) = BLOCK.findall(PAGE)
    assert (app, name, again) == ("app.py", "test_app.py", "app.py")
    (tmp_path / app).write_text(leaky)
    assert 'sensitivity="1/100",' in test
    (tmp_path / name).write_text(test.replace('sensitivity="1/100",', SMALLER))
    red = run(tmp_path)
    assert red.returncode == 1, red.stdout + red.stderr
    assert re.search(r"LEAKING +\S+ asyncio tasks? per (connection|answered stream)", red.stdout), red.stdout
    (line,) = [
        number for number, text in enumerate(leaky.splitlines(), 1) if "await asyncio.sleep(1)" in text
    ]
    assert f"app.py:{line}  refresh" in red.stdout, red.stdout
    assert f"app.py:{line}  refresh" in PAGE, "the page shows the same line"

    assert FUNCTION.search(leaky)
    (tmp_path / app).write_text(FUNCTION.sub(lambda _: fixed.rstrip("\n"), leaky))
    green = run(tmp_path)
    assert green.returncode == 0, green.stdout + green.stderr


def test_the_command_lines_of_the_tutorial_are_accepted() -> None:
    lines = re.findall(r"^\$ harness (.*)$", PAGE, re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        name, *words = shlex.split(line)
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, words)
