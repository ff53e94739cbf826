"""The agent's search for the lines that open descriptors, in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.runtime.python import AGENT
from harness.runtime.python_sites import Place, growth_of, places, waiting_growth

pytestmark = pytest.mark.timeout(60)
PROGRAM = """
import json, os, socket, sys, tempfile
sys.path.insert(0, sys.argv[1])
import harness_sites as sites
KEPT, ORIGINAL = [], (os.open, os.close)

class Feed:
    def __init__(self):
        self.file = open(os.devnull)  # opened file

def connect():
    return socket.socket()  # opened socket

def leak():
    KEPT.append(Feed())
    KEPT.append(connect())
    KEPT.append(os.eventfd(0))  # opened eventfd
    KEPT.append(os.pipe())  # opened pipe
    KEPT.append(tempfile.TemporaryFile())  # opened temporary

def closes():
    os.close(os.open(os.devnull, os.O_RDONLY))
    with open(os.devnull): pass
    number = os.dup(0)
    os.close(number)
    with socket.socket(): pass
    with os.fdopen(os.open(os.devnull, os.O_RDONLY)): pass

sites.trace(20)
assert os.open in os.supports_dir_fd and os.open == ORIGINAL[0] and os.open is not ORIGINAL[0]
before = sites.sites()["sites"]
for _ in range(20): leak(); closes()
after = sites.sites()["sites"]
sites.untrace()
assert (os.open, os.close) == ORIGINAL and os.open is ORIGINAL[0] and os.close is ORIGINAL[1]
print(json.dumps([before, after]))
"""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Place, int], Path]:
    program = tmp_path_factory.mktemp("descriptors") / "service.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(AGENT)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = (places([answer]) for answer in json.loads(done.stdout))
    return growth_of(before, after), program


def test_each_line_that_opens_descriptors_is_named_and_none_that_closes_them(
    grown: tuple[dict[Place, int], Path],
) -> None:
    found, program = grown
    lines = program.read_text().splitlines()

    def line(mark: str) -> str:
        return f"{program}:{next(n for n, text in enumerate(lines, 1) if text.endswith(f'# opened {mark}'))}"

    rates: dict[str, Any] = {one.site: one.per_connection for one in waiting_growth(found, 20)}
    assert rates == {
        line("file"): 1.0,
        line("socket"): 1.0,
        line("eventfd"): 1.0,
        line("pipe"): 2.0,
        line("temporary"): 1.0,
    }
    assert {one.kind for one in waiting_growth(found, 20)} == {"descriptor"}
