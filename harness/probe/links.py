"""Reads what the descriptors of a process point to."""

from __future__ import annotations

import os

from harness.probe.hot import PROCESS_EXITED

CHUNK = 256  # descriptors tried at once
SPARE = 16  # free numbers, plus one in SPARE, up to which counting up is cheaper than a listing


def links(directory: int) -> tuple[list[str], list[str]]:
    """Descriptor numbers and what they point to, of ``directory`` (open on /proc/PID/fd), the newest
    first: leaked descriptors have the highest numbers, so the examples are taken from them. Raises OSError."""
    names, found = _counted(directory) or _listed(directory)
    names.reverse()
    found.reverse()
    return names, found


def _counted(directory: int) -> tuple[list[str], list[str]] | None:
    """Try 0, 1, 2, … until as many are found as the kernel counts, which avoids a listing, a third of the cost. The
    kernel assigns the lowest free number (open(2)), so few are free. None if many are free, if some were closed in
    the meantime, or if the kernel does not count them (Linux < 6.2)."""
    count = os.fstat(directory).st_size
    free, at = SPARE + count // SPARE, 0  # free: numbers that may still turn out not to be open
    names: list[str] = []
    found: list[str] = []
    while len(names) < count:
        tried = [str(number) for number in range(at, at + min(CHUNK, count - len(names)))]
        at += len(tried)
        held, pointed = _read(directory, tried)
        free -= len(tried) - len(held)
        if free < 0:
            return None
        names += held
        found += pointed
    return (names, found) if names else None


def _listed(directory: int) -> tuple[list[str], list[str]]:
    return _read(directory, os.listdir(directory))


def _read(directory: int, names: list[str]) -> tuple[list[str], list[str]]:
    """Those of ``names`` that are open, and what they point to."""
    readlink = os.readlink
    try:
        # The usual case first: none was closed, and no link needs handling of its own.
        return names, [readlink(name, dir_fd=directory) for name in names]
    except PROCESS_EXITED:
        pass  # free, or closed since the listing: it is read once more, the slow way
    kept, found = [], []
    for name in names:
        try:
            found.append(readlink(name, dir_fd=directory))
        except PROCESS_EXITED:
            continue
        kept.append(name)
    return kept, found
