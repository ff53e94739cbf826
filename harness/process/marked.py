"""Finds the descendants of a child whose supervisor was killed, by a variable in their environment."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from harness.process.supervisor import MARK

TIMEOUT = 1.0  # seconds until killed processes must have disappeared
PAUSE = 0.01


def marked(mark: str) -> list[int]:
    """Processes whose environment at exec(2) carried this mark, this one excepted; environ is in proc(5)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        # It has exited since, or belongs to another user, whose environment only root may read (ptrace(2), access
        # mode).
        except OSError:
            continue
        if wanted in variables:
            found.append(int(entry.name))
    return found


def kill_marked(mark: str) -> None:
    """Kill them, and what they fork in the meantime. A zombie has no environment and ends the search."""
    deadline = time.monotonic() + TIMEOUT
    while (pids := marked(mark)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        time.sleep(PAUSE)
