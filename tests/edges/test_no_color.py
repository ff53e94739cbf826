"""NO_COLOR (https://no-color.org): no command colours what it prints on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edges.command_line import DEADLINE

ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "reports" / "sample")
STYLED = re.compile(rb"\x1b\[[0-9;]*m")


def on_a_terminal(*words: str, **env: str) -> bytes:
    """Everything that a command prints on a terminal."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        close_fds=True,
        env={**os.environ, "TERM": "xterm-256color", "HARNESS_HISTORY": "none", **env},
    )
    os.close(follower)
    said = b""
    try:
        while data := os.read(leader, 65536):
            said += data
    except OSError:
        pass  # EIO: the other side is closed
    os.close(leader)
    child.wait(DEADLINE)
    return said


@pytest.mark.parametrize(
    "words",
    [
        ("judge", SAMPLE),
        ("explain", SAMPLE),
        ("doctor",),
        ("compare", SAMPLE, SAMPLE),
        ("--help",),
        ("gaurd",),
    ],
    ids=lambda words: words[0],
)
def test_no_color_turns_colours_off_on_a_terminal(words: tuple[str, ...]) -> None:
    plain = on_a_terminal(*words, NO_COLOR="1")
    assert plain.strip()
    assert not STYLED.search(plain)


def test_without_no_color_a_verdict_on_a_terminal_is_coloured() -> None:
    """Otherwise the test above would pass for a command that never colours anything."""
    assert STYLED.search(on_a_terminal("judge", SAMPLE, NO_COLOR=""))


def test_only_the_console_module_creates_consoles_and_colours() -> None:
    """harness.cli.console decides about colour for every command."""
    own = re.compile(
        r"(?<!\.)\b(?:Console|Terminal)\((?!Console\))|click\.(?:style|secho)\(|\\x1b\[\d+m|\\033\["
    )
    found = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "harness").rglob("*.py"))
        if file.name != "console.py" and own.search(file.read_text())
    ]
    assert found == []
