"""The logs of a run: logs of an earlier process are renamed, never overwritten, and the oldest are removed first."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from harness.process.supervisor import LOG_TAIL, LOG_WAS_CUT
from harness.store.write import failure, write_all

LIVE_NAMES = ("target.log", "broker.log", "swarm.log")
# Rotated (``.old.log``) or set aside (``.1.log``).
OLD_PATTERNS = ("target.*.log", "broker.*.log", "swarm.*.log")


def set_aside(folder: Path, names: Iterable[str]) -> None:
    """Rename ``target.log`` to ``target.1.log``, the first number that is free, and its rotated part alike. Raises
    StoreError."""
    for name in names:
        log = folder / name
        for path in (log, log.with_name(f"{log.stem}.old{log.suffix}")):
            if not path.exists():
                continue
            for number in count(1):
                other = path.with_name(f"{path.stem}.{number}{path.suffix}")
                if not other.exists():
                    break
            try:
                path.rename(other)
            except OSError as error:
                raise failure("rename", path, error) from None


def old_logs(run: Path) -> list[Path]:
    """Logs that no process writes to any more, oldest first."""
    found = [
        path
        for pattern in OLD_PATTERNS
        for path in run.rglob(pattern)
        if path.is_file() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path))


def live_logs(run: Path) -> list[Path]:
    """Logs that are written to, largest first."""
    found = [
        path for name in LIVE_NAMES for path in run.rglob(name) if path.is_file() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: (-path.stat().st_size, path))


def cut_to_tail(path: Path, tail: int = LOG_TAIL) -> None:
    """Leave the last bytes of a log that a process appends to. Raises StoreError."""
    try:
        # Opened for appending, as by the process that writes it, so that its lines of this moment are not overwritten.
        log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            size = os.fstat(log).st_size
            if size <= tail:
                return
            kept = os.pread(log, tail, size - tail)
            os.ftruncate(log, 0)
            write_all(log, LOG_WAS_CUT % size + kept)
        finally:
            os.close(log)
    except OSError as error:
        raise failure("cut", path, error) from None


def was_cut(log: Path) -> bool:
    """Whether an endless log was cut back to its tail, which its first line then says."""
    beginning = LOG_WAS_CUT.partition(b"%")[0]
    try:
        with log.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:
        return False
