"""Limits the size of a long run's folder: old samples are thinned, and the oldest logs are removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.core.errors import StoreError
from harness.store.logs import cut_to_tail, live_logs, old_logs
from harness.store.run_dir import SAMPLES, RunDirectory
from harness.store.thin import AGES, COARSE

MAX_BYTES = 512 << 20  # bytes of a folder, by default
THIN_AT = 16 << 20  # bytes of samples.jsonl: about an hour and a half of one process
# Share of the limit to which the folder is reduced, so that the next cycle does not reach it again.
REDUCED_SHARE = 0.9


class FolderLimit:
    """Limits one folder, between two cycles. most: bytes. full: the folder is above its limit, and nothing more can
    be removed."""

    def __init__(self, directory: RunDirectory, most: int = MAX_BYTES) -> None:
        self.most = most
        self.full = False
        self._directory = directory
        self._thin_at = THIN_AT

    def apply(self, at: float) -> list[str]:
        """Apply the limit; what was removed, for the notes of the trial. at: seconds since the run's start. A full
        disk is reported by the next writer, not here."""
        notes = []
        try:
            if size_of(self._directory.path / SAMPLES) > self._thin_at:
                notes += self._thin(at)
            if size_of(self._directory.path) > self.most:
                notes += self._free(at)
        except StoreError:
            pass
        return notes

    def _thin(self, at: float) -> list[str]:
        self._directory.thin_samples(at, AGES)
        # Thinning reads and writes the whole file, so it runs again only once the file has doubled.
        self._thin_at = max(THIN_AT, 2 * size_of(self._directory.path / SAMPLES))
        return ["samples are thinned with age: the lowest, highest and last of every 10 s after 10 minutes, of every "
                "minute after an hour"]  # fmt: skip

    def _free(self, at: float) -> list[str]:
        """Remove the least important data until the folder is below its limit."""
        notes = []
        for what, work in self._steps(at):
            before = size_of(self._directory.path)
            work()
            freed = before - size_of(self._directory.path)
            if freed > 0:
                notes.append(f"the folder reached its limit of {mib(self.most)}: {what}")
            if size_of(self._directory.path) <= REDUCED_SHARE * self.most:
                break
        self.full = size_of(self._directory.path) > self.most
        return notes

    def _steps(self, at: float) -> Iterator[tuple[str, Callable[[], object]]]:
        """What may be removed, the least important first: in words, and the function that removes it."""
        root = self._directory.path
        for path in old_logs(root):
            yield f"{path.relative_to(root)} was removed", path.unlink
        yield (
            "samples older than a minute keep the lowest, highest and last of every minute",
            lambda: self._directory.thin_samples(at, COARSE),
        )
        for path in live_logs(root):
            yield f"{path.relative_to(root)} was cut to its tail", lambda path=path: cut_to_tail(path)  # type: ignore[misc]


def mib(size: int) -> str:
    """``512 MiB``."""
    return f"{size / (1 << 20):.4g} MiB"


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 if it does not exist."""
    if not path.is_dir():
        try:
            return path.lstat().st_size
        except OSError:
            return 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_size
            except OSError:
                continue  # removed since the folder was listed
    return total
