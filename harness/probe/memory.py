"""Counts mappings by kind, and reads memory as the kernel accounts for it."""

from __future__ import annotations

import os
from collections import Counter

from harness.probe.descriptors import Tally
from harness.probe.hot import PROCESS_EXITED, HotProcess


def _read_all(process: HotProcess, name: str) -> bytes:
    file = os.open(f"{process.living_task()}{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process.dir)
    with open(file, "rb") as source:  # noqa: PTH123 - by descriptor
        return source.read()


def mappings(process: HotProcess, tally: Tally) -> None:
    """Count by kind: ``anonymous``, ``heap``, ``stack``, ``file``, ``deleted``, … Raises OSError when it
    may not be read (proc(5): ``maps`` needs ptrace's right to read)."""
    text = _read_all(process, "maps")
    for line in text.splitlines():
        # address perms offset device inode path; the path may hold spaces
        fields = line.split(None, 5)
        if len(fields) < 6:
            tally.counts["anonymous"] += 1
            continue
        name = fields[5]
        if name.startswith(b"["):
            kind = name.strip(b"[]").partition(b":")[0].decode(errors="replace")
            # A service may name its anonymous memory, as in "[anon:glibc: malloc]" (prctl(2), PR_SET_VMA_ANON_NAME).
            tally.counts["anonymous" if kind == "anon" else kind] += 1
        else:
            kind = "deleted" if name.endswith(b" (deleted)") else "file"
            # A name is decoded only while examples are wanted: a service may have a hundred thousand mappings.
            tally.add(kind, "" if tally.has_examples(kind) else name.decode(errors="replace"))


def memory(process: HotProcess, sizes: Counter[str], unreadable: list[str]) -> None:
    """Add its ``anonymous``, ``uss`` and ``rss`` (bytes), from smaps_rollup. If that may not be
    read, ``anonymous`` and ``rss`` come from ``status``, which every user may read, and ``unreadable`` says so.
    A process that has exited holds nothing.
    """
    try:
        _add(_read_all(process, "smaps_rollup"), _ROLLUP, sizes)
    except PROCESS_EXITED:
        return
    except OSError as error:
        try:
            _add(_read_all(process, "status"), _STATUS, sizes)
        except PROCESS_EXITED:
            return
        except OSError:
            unreadable.append(f"memory of pid {process.pid}: {error.strerror}")
            return
        unreadable.append(f"uss of pid {process.pid}: {error.strerror}; anonymous memory is from status")


_ROLLUP = {
    b"Rss": "rss",
    b"Anonymous": "anonymous",
    b"Private_Clean": "uss",
    b"Private_Dirty": "uss",
}
_STATUS = {b"VmRSS": "rss", b"RssAnon": "anonymous"}


def _add(text: bytes, wanted: dict[bytes, str], sizes: Counter[str]) -> None:
    for line in text.splitlines():
        name, _, value = line.partition(b":")
        if name in wanted:
            # The kernel writes kB and means 1,024 bytes (proc(5)).
            sizes[wanted[name]] += int(value.split()[0]) * 1024
