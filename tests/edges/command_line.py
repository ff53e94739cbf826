"""Runs the command line as a user's shell does, and finds processes that it leaves alive."""

from __future__ import annotations

import contextlib
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

import psutil

SERVICES = Path(__file__).parents[1] / "services"
HARNESS = (sys.executable, "-m", "harness.cli")
URL = "http://127.0.0.1:{port}/e"
SMALL = (
    *("--connections", "60", "--concurrency", "60", "--dwell", "300ms", "--settle", "150ms"),
    # Answers that a busy machine delays are not stalls.
    *("--sensitivity", "1/10", "--stall-after", "10s"),
    # These tests check neither how long growth stays nor what connected clients cost: both take seconds of waiting.
    *("--retention", "0", "--hold", "0"),
)
DEADLINE = 30.0
TIMEOUT = 110.0


def environment(**more: str) -> dict[str, str]:
    """Ours without what GitHub Actions sets. No history, unless a test names one."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    return ours | {"HARNESS_HISTORY": "none"} | more


def harness(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> subprocess.CompletedProcess[str]:
    """``harness ARGUMENTS`` to its end."""
    return subprocess.run(
        [*HARNESS, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**(env or {})),
    )


def locust(
    command: Sequence[str], cwd: Path, *, until: Callable[[int], object] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """A Locust run to its end; workers that it forked die with it. until: asked with its pid, ends it by SIGTERM."""
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
                wait_for(lambda: child.poll() is not None or until(child.pid), "what the run is to come to")
                child.send_signal(signal.SIGTERM)
            out, said = child.communicate(timeout=DEADLINE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, child.returncode, out, said)


def table(out: str) -> list[dict[str, Any]]:
    """The rows that ``--json`` prints. Each worker prints an empty list as well, in the midst of whatever comes."""
    rows: list[dict[str, Any]] = json.loads(out.replace("[]", "").strip() or "[]")
    return rows


def wait_for(condition: Callable[[], object], what: str, within: float = DEADLINE) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.02)


@contextmanager
def within(seconds: float, run: subprocess.Popen[str]) -> Iterator[None]:
    """What is done meanwhile takes no longer, apart from the time in which we, the run or what it had started stood
    in line for a core; and in no case longer than DEADLINE."""
    pids = [run.pid, *(child.pid for child in psutil.Process(run.pid).children(recursive=True))]
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
    assert took - queued < seconds, f"took {took:.1f} s, of which {queued:.1f} s were spent in line"
    assert took < DEADLINE


def _queued(task: Path) -> float:
    """Seconds in which a thread could have run and did not (Documentation/scheduler/sched-stats.rst); 0 once it has
    ended."""
    try:
        return int(task.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def mentioning(word: str | Path) -> list[int]:
    """Live processes (zombies aside) whose command line holds a word."""
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
    """Output whose facts are wrapped at 80 columns, as one line."""
    return " ".join(text.split())
