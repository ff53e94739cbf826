"""Take a secret out of this process's own environment, so that neither `ps` nor a child shows it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

# env_start and env_end are fields 50 and 51 of /proc/PID/stat, counted from 1 (proc(5)). The first two fields are cut
# off with the last parenthesis, and a list counts from 0.
START, END = 50 - 3, 51 - 3


def forget(name: str) -> None:
    """Remove a variable from ``os.environ``, and overwrite its value in the block that /proc/PID/environ shows.

    If the kernel does not show the position of the block, the variable is only removed.
    """
    value = os.environb.pop(name.encode(errors="surrogateescape"), None)
    if not value:
        return
    try:
        # The name of the program is in parentheses, and may itself contain spaces and parentheses.
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[START]), int(fields[END])
        if not 0 < start < end:
            return
        block = Path("/proc/self/environ").read_bytes()[: end - start]
    except (OSError, IndexError, ValueError):
        return
    entry = name.encode(errors="surrogateescape") + b"=" + value + b"\0"
    # Entries end with NUL. A match elsewhere would be the end of another variable's name.
    at = 0 if block.startswith(entry) else block.find(b"\0" + entry) + 1
    # ``find`` returns -1 for a variable that was set after the start, which the block does not have.
    if at == 0 and not block.startswith(entry):
        return
    # /proc/PID/environ shows this memory, not a copy of it that execve(2) made. Only the value is overwritten: the
    # NUL behind it must stay.
    ctypes.memset(start + at + len(entry) - 1 - len(value), ord("*"), len(value))
