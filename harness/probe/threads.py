"""Counts threads by name, with the kernel function in which they wait."""

from __future__ import annotations

import os
import re

from harness.probe.descriptors import Tally
from harness.probe.hot import PROCESS_EXITED, HotProcess, read_file, switches_of

_NUMBER = re.compile(r"\d+")


def threads(process: HotProcess, tally: Tally) -> int:
    """Count every thread by name: ``pool-1-thread-7`` is ``pool-#-thread-#``, so that they are one
    class. The examples name the kernel function in which a thread waits. Returns the context switches of all threads.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    switches = 0
    try:
        tasks = os.open("task", flags, dir_fd=process.dir)
    except PROCESS_EXITED:
        return 0
    try:
        # Leaked threads have the highest ids, so the examples are taken from those.
        for tid in reversed(os.listdir(tasks)):  # noqa: PTH208 - by descriptor
            try:
                name = read_file(f"{tid}/comm", tasks).decode(errors="replace").strip()
                switches += switches_of(read_file(f"{tid}/status", tasks))
            except PROCESS_EXITED:
                continue
            kind = _NUMBER.sub("#", name)
            # Where a thread waits takes another file to read, so it is read only while examples are wanted.
            tally.add(kind, "" if tally.has_examples(kind) else _where(tasks, tid, name))
    except PROCESS_EXITED:
        pass
    finally:
        os.close(tasks)
    return switches


def _where(tasks: int, tid: str, name: str) -> str:
    try:
        channel = read_file(f"{tid}/wchan", tasks).decode(errors="replace").strip()
    except OSError:
        channel = ""
    return f"{name} waits in {channel}" if channel not in ("", "0") else f"{name} (tid {tid})"
