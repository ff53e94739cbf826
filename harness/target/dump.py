"""Traces of a crash outside the log: the core file and its C stack by gdb, and the kernel's own message."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from harness.core.trace import fold

PATTERN = Path("/proc/sys/kernel/core_pattern")
KERNEL_LOG = "/dev/kmsg"
GDB_TIMEOUT = 20.0  # seconds: a core file of a service with gigabytes in memory
KERNEL_LOG_TIMEOUT = 2.0  # seconds of reading the kernel's log, which a flood of messages would make endless
RECORD = 8192  # bytes of one record of /dev/kmsg (dev-kmsg in the kernel's documentation)
EXECUTABLE = re.compile(r'AT_EXECFN .*"(.+)"$', re.MULTILINE)
OUT_OF_MEMORY_KILL = re.compile(r"Killed process (\d+) ")
# gdb must not run anything that lies beside a core file or a library, so it loads no scripts and no settings.
GDB = (
    "gdb",
    "-nx",
    "-batch",
    "-iex",
    "set auto-load off",
    "-iex",
    "set debuginfod enabled off",
    "-iex",
    "set width 0",
)


def core_stack(folders: Iterable[Path], *, since: float) -> tuple[str, ...]:
    """The C stack of the thread that crashed, from the newest core file written since (seconds since the epoch).
    Empty without a core file, or without gdb."""
    if not shutil.which("gdb"):
        return ()
    core = newest_core(folders, since=since)
    if core is None:
        return ()
    executable = EXECUTABLE.search(_gdb("-c", str(core), "-ex", "info auxv"))
    # AT_EXECFN is the path as it was given to execve(2), so it may be relative to the working directory, where the core
    # is.
    program = str(core.parent / executable[1]) if executable else ""
    if not program or not Path(program).is_file():
        return ()
    stack = fold(_gdb(program, "-c", str(core), "-ex", "bt 40").splitlines())
    return (*stack, f"C stack of the thread that crashed, from {core}") if stack else ()


def newest_core(folders: Iterable[Path], *, since: float) -> Path | None:
    """A core file that this user owns, in one of the folders or where core_pattern(5) puts them."""
    try:
        pattern = PATTERN.read_text().strip()
    except OSError:
        return None
    if pattern.startswith("|") or not pattern:
        return None  # a program of the system handles core files
    # The kernel fills these in (core(5)): %p with the pid, %e with the name of the program, and others.
    name = re.sub(r"%.", "*", pattern)
    places = [Path(name).parent] if name.startswith("/") else list(folders)
    found = []
    for place in places:
        # With core_uses_pid the kernel appends ".PID" to a pattern that has none (core(5)).
        for core in (*place.glob(Path(name).name), *place.glob(f"{Path(name).name}.*[0-9]")):
            try:
                status = core.lstat()
                # A folder such as /tmp is writable for everyone: gdb is not given a file that another user planted.
                if core.is_symlink() or not core.is_file() or status.st_uid != os.geteuid():
                    continue
                with core.open("rb") as file:
                    if status.st_mtime >= since and file.read(4) == b"\x7fELF":
                        found.append((status.st_mtime, core))
            except OSError:
                continue
    return max(found)[1] if found else None


def _gdb(*arguments: str) -> str:
    try:
        done = subprocess.run(
            [*GDB, *arguments],
            capture_output=True,
            timeout=GDB_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")


def oom_kills(pid: int) -> tuple[str, ...]:
    """The kernel's message that it killed this process because memory ran out; empty where its log cannot be read."""
    try:
        # Without O_NONBLOCK a read at the end of the log waits for the next message.
        log = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ()
    found = []
    deadline = time.monotonic() + KERNEL_LOG_TIMEOUT
    try:
        while time.monotonic() < deadline:
            try:
                record = os.read(log, RECORD).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the ring buffer has passed this record
            # A record is PRIORITY,SEQUENCE,TIME,FLAGS;TEXT (Documentation/ABI/testing/dev-kmsg).
            text = record.partition(";")[2].partition("\n")[0]
            if (killed := OUT_OF_MEMORY_KILL.search(text)) and int(killed[1]) == pid:
                found.append(text)
    except OSError:
        pass
    finally:
        os.close(log)
    return tuple(found)
