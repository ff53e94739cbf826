"""Runs the command line as a user's shell does, or in this process, and finds processes that keep running after it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest

from harness.cli import main

SERVICES = Path(__file__).parents[1] / "services"
HARNESS = (sys.executable, "-m", "harness.cli")
URL = "http://127.0.0.1:{port}/e"
# Options of a small, quick load.
SMALL = (
    *("--connections", "60", "--concurrency", "60", "--dwell", "300ms", "--settle", "150ms"),
    # A busy machine may delay answers, which must not count as stalls.
    *("--sensitivity", "1/10", "--stall-after", "10s"),
    # The retention time and the hold cycle take seconds of waiting, and these tests check neither.
    *("--retention", "0", "--hold", "0"),
)
DEADLINE = 30.0  # seconds in which a condition must become true
TIMEOUT = 110.0  # seconds of a whole command


def environment(**more: str) -> dict[str, str]:
    """The environment of the tests without the variables of GitHub Actions, and without a history unless a test names
    one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return inherited | {"HARNESS_HISTORY": "none"} | more


def harness(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> subprocess.CompletedProcess[str]:
    """Run ``harness WORDS`` and wait for its exit. Raises TimeoutExpired after ``timeout`` seconds."""
    return subprocess.run(
        [*HARNESS, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**(env or {})),
    )


def harness_here(cwd: Path, *words: str | Path, history: str = "") -> subprocess.CompletedProcess[str]:
    """``harness WORDS`` in a folder, in this process, because a start and its imports take up to half a second.
    history: by default that of the folder, as a command has it by default."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd))
        stack.enter_context(patch.dict(os.environ, environment(HARNESS_HISTORY=history), clear=True))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        ended = stack.enter_context(pytest.raises(SystemExit))
        main(list(map(str, words)))
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.read(), err.read())


def locust(
    command: Sequence[str], cwd: Path, *, until: Callable[[int], object] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run Locust and wait for its exit. At the end every process of its group is killed, forked workers included.

    until: called with the pid until it is true; then the run gets SIGTERM. Without it the run ends by itself.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
        start_new_session=True,
    ) as child:
        try:
            if until is not None:
                wait_for(
                    lambda: child.poll() is not None or until(child.pid), "the condition to stop the run"
                )
                child.send_signal(signal.SIGTERM)
            stdout, stderr = child.communicate(timeout=DEADLINE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, child.returncode, stdout, stderr)


def table(out: str) -> list[dict[str, Any]]:
    """The rows that ``locust --json`` prints. Each worker prints an empty list as well, anywhere in the output."""
    rows: list[dict[str, Any]] = json.loads(out.replace("[]", "").strip() or "[]")
    return rows


def wait_for(condition: Callable[[], object], what: str, within: float = DEADLINE) -> None:
    """Wait until ``condition`` is true. what: its name, for the failure. within: seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not true within {within:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def within(seconds: float, run: subprocess.Popen[str]) -> Iterator[None]:
    """Assert that the block takes less than ``seconds``, and in any case less than DEADLINE. Time in which a thread of
    this process, of the run or of its descendants waited for a core does not count."""
    pids = [run.pid, *(child.pid for child in psutil.Process(run.pid).children(recursive=True))]
    # Descendants may exit during the block, so the last value that could be read of each thread is kept.
    tasks = [*(task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))]
    tasks.append(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat"))
    before = {task: _queued(task) for task in tasks}
    after = dict(before)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            after.update({task: max(seen, _queued(task)) for task, seen in after.items()})

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.monotonic()
    try:
        yield
    finally:
        took = time.monotonic() - began
        done.set()
        watcher.join()
    queued = sum(after[task] - before[task] for task in tasks)
    assert took - queued < seconds, f"took {took:.1f} s, of which {queued:.1f} s waiting for a core"
    assert took < DEADLINE


def _queued(task: Path) -> float:
    """Seconds in which a thread was runnable and waited for a core (Documentation/scheduler/sched-stats.rst); 0 once it
    has exited."""
    try:
        return int(task.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def mentioning(word: str | Path) -> list[int]:
    """Process ids whose command line contains ``word``. A zombie has an empty command line, so it never counts."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(word).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def unwrapped(text: str) -> str:
    """The output, which is wrapped at 80 columns, as one line."""
    return " ".join(text.split())
