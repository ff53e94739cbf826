"""A process that the probe reads, and that executes commands from its standard input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from harness.probe.births import descendants

DEADLINE = 30.0
LOOP = """
import sys
kept = []
world = {"kept": kept, "__name__": "told"}
for line in sys.stdin:
    try:
        exec(compile(eval(line), "told", "exec"), world)
        answer = world.pop("answer", "done")
    except BaseException as error:
        answer = f"failed: {error!r}"
    sys.stdout.write(repr(answer) + "\\n")
    sys.stdout.flush()
"""


class ScriptedProcess:
    """A Python process that executes what ``run`` gives it. What it appends to ``kept`` stays open."""

    def __init__(
        self, *, prefix: Sequence[str] = (), user: int | None = None, python: str = sys.executable
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, python, "-u", "-c", LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=user,
        )
        self.pid = self.process.pid
        self.run("pass")

    def run(self, code: str) -> object:
        """Execute the code; returns the value of ``answer``. Raises AssertionError when it fails."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(repr(code) + "\n")
        self.process.stdin.flush()
        answer = eval(self.process.stdout.readline() or "'failed: it ended'")
        assert not str(answer).startswith("failed"), answer
        return answer

    def send(self, code: str) -> None:
        """Execute code that ends the process, without waiting for an answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(repr(code) + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    pass

    def __enter__(self) -> ScriptedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def state(pid: int) -> str:
    """The letter of proc(5): ``S`` sleeping, ``Z`` zombie, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def asleep(pid: int) -> bool:
    """Whether all threads of the process and of its descendants are asleep."""
    states = []
    for each in descendants(pid):
        for task in Path(f"/proc/{each}/task").glob("*/stat"):
            try:
                states.append(task.read_text().rpartition(")")[2].split()[0])
            except (FileNotFoundError, ProcessLookupError):
                return False  # it was just about to end
    return bool(states) and not {"R", "D"} & set(states)


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not true in time: {what}"
        time.sleep(0.005)
