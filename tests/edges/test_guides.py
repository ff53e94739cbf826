"""Executes the examples of README and the guides: Python under pytest, TOML by the budget loader. Of shell lines the
command parses its options; a quick one is run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from harness.cli import cli
from harness.config import loads
from tests.edges.command_line import SERVICES, harness_here
from tests.short_start import WITHOUT

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/guard.md", "docs/pytest.md", "docs/budgets.md", "examples/README.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HARNESS_LINE = re.compile(r"`(harness [a-z][^`]*)`|^(?:\w+=\S+ )*(harness [a-z].*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page. language: empty for shell lines."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        for number, (name, text) in enumerate(FENCE.findall((ROOT / page).read_text())):
            found.append(Block(page, number, name, text))
    first = {block.text: block for block in reversed(found) if block.language == language}
    return [block for block in found if first.get(block.text) is block]  # the same text runs once


PYTHON = """
import asyncio, os, pytest, sys
from urllib.request import urlopen
def connect(endpoint):
    import zmq
    client = zmq.Context.instance().socket(zmq.DEALER)
    client.connect(endpoint)
    client.close(0)
class Session: pass
def work(): pass
class Short:
    '''The guard of the guide, given a service and little to do.'''
    def __init__(self, guard): self.guard = guard
    def __call__(self, *, command, url, **more):
        assert command and url, "the guide names both"
        return self.guard(command=[sys.executable, {service!r}, "{{port}}", *sys.argv[:0]],
            url="http://127.0.0.1:{{port}}/events", connections=50, concurrency=50, dwell=0.2, settle=0.2,
            sensitivity=0.05, retention=0, hold=0, stall_after=10.0, **{{**more, "max_time": 100}})
@pytest.fixture
def guard(guard): return Short(guard)
"""
BUDGETS = '[budget]\n[profile.nightly]\nthreads = "1/hour"\n'


def as_tests(text: str) -> str:
    """A block as a test file: what is not in a function becomes one; ``...`` stands for the reader's own."""
    text = text.replace('command=[...], url="..."', "command=['x'], url='x'").replace(
        "ignore=[...]", "ignore=[]"
    )
    if "def test_" in text:
        return text
    text = text.replace(
        "assert_bounded(verdict)", "assert_bounded(assert_bounded({'fds': [1] * 6}, connections=900))"
    )
    body = "".join(f"    {line}\n" for line in text.splitlines())
    return f"def test_block():\n{body}"


@pytest.mark.usefixtures("own_lock")
@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs_under_pytest(block: Block, pytester: pytest.Pytester) -> None:
    text = as_tests(block.text)
    tests = len(re.findall(r"^\s*(?:async )?def test_", text, re.MULTILINE))
    pytester.makepyfile(PYTHON.format(service=str(SERVICES / "plain_sse.py")) + text)
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    (pytester.path / "budgets.toml").write_text(BUDGETS)
    options = (*WITHOUT.split(), "-p", "no:cacheprovider", "--strict-markers", "--harness-out", "out")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=tests)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_a_budget_file(block: Block) -> None:
    found = loads(Path("budgets.toml"), block.text)
    assert found.common.growth
    assert found.exemptions


def command_lines() -> list[str]:
    """Every ``harness …`` of the pages, in a block or in a sentence."""
    found: dict[str, None] = {}
    for page in PAGES:
        for one, other in HARNESS_LINE.findall((ROOT / page).read_text()):
            found[one or other] = None
    return list(found)


PLACEHOLDERS = {
    "--url …": "--url http://127.0.0.1:1/",
    "COMMAND": "true",
    "[FILE]": "",
    "RUN": "reports/x",
    "PID": "1",
}


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_is_one_that_the_command_takes(line: str) -> None:
    for shown, real in PLACEHOLDERS.items():
        line = line.replace(shown, real)
    _, name, *words = shlex.split(line.replace("…", "").replace("\\|", "|"))
    command = cli.get_command(click.Context(cli), name)
    while isinstance(command, click.Group):
        if not words:
            return
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None, line
    if words:
        command.make_context(name, list(words))


def test_init_and_check_run_as_the_guide_describes(tmp_path: Path) -> None:
    assert harness_here(tmp_path, "init").returncode == 0
    checked = harness_here(tmp_path, "budget", "check")
    assert checked.returncode == 0
    assert "valid" in checked.stdout


def test_every_page_has_something_to_run() -> None:
    assert len(blocks("python")) >= 6
    assert [block.page for block in blocks("toml")] == ["docs/budgets.md"]
    assert len(command_lines()) >= 12, "the pattern still finds them"
