"""The command line as a user's shell runs it, and what it leaves alive."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVICES = Path(__file__).parents[1] / "services"
HARNESS = (sys.executable, "-m", "harness.cli")
URL = "http://127.0.0.1:{port}/e"
SMALL = (
    *("--connections", "60", "--concurrency", "60", "--dwell", "300ms", "--settle", "150ms"),
    # Answers that a busy machine delays are no stalls.
    *("--sensitivity", "1/10", "--stall-after", "10s"),
)
DEADLINE = 30.0
PATIENCE = 110.0


def environment(**more: str) -> dict[str, str]:
    """Ours without what GitHub Actions sets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")} | more


def harness(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """``harness WORDS`` to its end."""
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
def within(seconds: float) -> Iterator[None]:
    """What is done meanwhile takes no longer, apart from the time in which somebody on this machine stood in line
    for a core; where the kernel does not count that, and in any case, no longer than DEADLINE."""
    began, queued = time.monotonic(), _queued()
    yield
    took = time.monotonic() - began
    assert took < DEADLINE
    if queued is not None:
        assert took - ((_queued() or queued) - queued) < seconds, f"took {took:.1f} s"


def _queued() -> float | None:
    """Seconds since boot in which a task that could run did not: "some" of Documentation/accounting/psi.rst."""
    try:
        return float(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6
    except OSError:
        return None


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
