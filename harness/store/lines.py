"""Files of JSON lines to which a run appends: samples and events.

A later failure loses nothing that is already written: when the disk is full the partial line is removed, so the file
ends with a whole line, and the error is raised once.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from harness.core.errors import StoreError
from harness.core.sample import ProcessSample, Sample
from harness.process.closing import Closing
from harness.store.write import PRIVATE_FILE, failure, write_all

FLUSH_SECONDS = 1.0  # a kill -9 loses the samples of this time at most
FLUSH_BYTES = 64 * 1024  # buffered at most


class LineFile:
    """Appends lines to one file; several writers and threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._failed: StoreError | None = None
        try:
            self._descriptor: int | None = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE
            )
            self._end_partial_line()
        except OSError as error:
            raise failure("write", path, error) from None

    def _end_partial_line(self) -> None:
        """End the partial line that a killed run left, so that the next line is readable."""
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            write_all(self._descriptor, b"\n")

    def add(self, line: bytes) -> None:
        """Buffer one line (without its newline) until the next flush. Raises StoreError once the file
        has failed."""
        with self._lock:
            if self._failed:
                raise self._failed
            self._buffer.append(line + b"\n")
            self._buffer_bytes += len(line) + 1
            if self._buffer_bytes >= FLUSH_BYTES:
                self._flush()

    def flush(self) -> None:
        """Write the buffer to the file. Raises StoreError."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if not self._buffer or self._descriptor is None:
            return
        data, self._buffer, self._buffer_bytes = b"".join(self._buffer), [], 0
        before = os.fstat(self._descriptor).st_size
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self._cut_partial_line(before, data)
            self._failed = failure("write", self.path, error)
            raise self._failed from None

    def rewrite(self, keep: Callable[[Iterator[bytes]], Iterable[bytes]]) -> None:
        """Replace the lines so far by those that ``keep`` chooses of them; others may write meanwhile. Raises
        StoreError; the file then stays as it is."""
        draft = self.path.with_name(f".{self.path.name}.new")
        with self._lock:
            if self._descriptor is None:
                return
            self._flush()
            end = os.fstat(self._descriptor).st_size
        made = None
        try:
            draft.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | os.O_CLOEXEC
            made = os.open(draft, flags, PRIVATE_FILE)
            with self.path.open("rb") as old, os.fdopen(os.dup(made), "wb", FLUSH_BYTES) as new:
                new.writelines(keep(_until(old, end)))
                new.flush()
                # Copy what was written meanwhile; the lock is held, so nothing is written from here on.
                with self._lock:
                    self._flush()
                    old.seek(end)
                    while part := old.read(FLUSH_BYTES):
                        new.write(part)
                    new.flush()
                    # Data before name: a crash of the machine must not leave an empty file (rename(2), fsync(2)).
                    os.fsync(made)
                    draft.replace(self.path)
                    assert self._descriptor is not None
                    os.close(self._descriptor)
                    self._descriptor, made = made, None
        except (OSError, StoreError) as error:
            draft.unlink(missing_ok=True)
            raise (error if isinstance(error, StoreError) else failure("write", draft, error)) from None
        finally:
            if made is not None:
                os.close(made)

    def _cut_partial_line(self, before: int, data: bytes) -> None:
        """Cut the file after the last whole line that was written."""
        assert self._descriptor is not None
        try:
            written = os.fstat(self._descriptor).st_size - before
            # Without a whole line rfind returns -1, and the file is cut to its size before.
            os.ftruncate(self._descriptor, before + data.rfind(b"\n", 0, written) + 1)
        except OSError:
            pass  # a device, not a file; readers skip a partial line anyway

    def close(self) -> None:
        """Flush and close. Raises StoreError, unless the failure was raised before."""
        with self._lock:
            if self._descriptor is None:
                return
            try:
                self._flush()
            finally:
                os.close(self._descriptor)
                self._descriptor = None


def _until(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The lines of a file up to a position."""
    while file.tell() < end and (line := file.readline()):
        yield line


class SampleWriter(Closing):
    """One trial's samples into the run's ``samples.jsonl``; flushes each second of sample time."""

    def __init__(self, lines: LineFile, trial: str) -> None:
        self._lines = lines
        self._trial = trial
        self._flushed: float | None = None

    def write(self, sample: Sample) -> None:
        """Write one sample. Raises StoreError when the disk is full or not available."""
        self._lines.add(sample_line(self._trial, sample))
        if self._flushed is None or sample.at - self._flushed >= FLUSH_SECONDS:
            self._flushed = sample.at
            self._lines.flush()

    def flush(self) -> None:
        """Write everything so far to the file."""
        self._lines.flush()

    def close(self) -> None:
        """The end of this trial's samples; the file stays open for the next trial."""
        self._lines.flush()


def tag(trial: str) -> bytes:
    """The first bytes of every sample line of a trial, so that lines of other trials need no parsing."""
    return b'{"trial":' + json.dumps(trial).encode() + b","


def sample_line(trial: str, sample: Sample) -> bytes:
    """One sample: absent values are absent, times have microseconds."""
    data: dict[str, Any] = {"at": round(sample.at, 6)}
    for name in _PLAIN:
        value = getattr(sample, name)
        if value is not None and value != ():
            data[name] = round(value, 6) if isinstance(value, float) else value
    if sample.per_process:
        # Without names, which would be most of the file.
        data["per_process"] = [[getattr(p, name) for name in _PROCESS] for p in sample.per_process]
    return tag(trial) + _encode(data)[1:]


def read_sample(data: Mapping[str, Any]) -> Sample:
    """Inverse of ``sample_line``. Raises ValueError, TypeError or KeyError for a line that is not a sample."""
    processes = data.get("per_process", ())
    for name, kind in _KINDS.items():
        if name in data and not _fits(data[name], kind):
            raise ValueError(f"{name} is {data[name]!r:.80}")
    return Sample(
        at=_finite(data["at"]),
        per_process=tuple(ProcessSample(**dict(zip(_PROCESS, row, strict=True))) for row in processes),
        **{name: _frozen(data[name]) for name in _PLAIN if name in data},
    )


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is no time")
    return float(value)


def _fits(value: Any, kind: str) -> bool:
    """Whether a JSON value is what a field of this type holds: a file may be damaged, or written by others. kind: as in
    _KINDS."""
    if isinstance(value, bool):
        return "bool" in kind
    if isinstance(value, int | float):
        return ("int" in kind or "float" in kind) and math.isfinite(value)
    if isinstance(value, str):
        return "str" in kind and "tuple" not in kind
    if isinstance(value, list):
        return "tuple" in kind and all(isinstance(one, str) for one in value)
    return value is None and "None" in kind


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# Field → its type as it is written, such as ``int | None``: annotations are texts in that module.
_KINDS = {f.name: str(f.type) for f in fields(Sample) if f.name not in ("at", "per_process")}
_PLAIN = tuple(f.name for f in fields(Sample) if f.name not in ("at", "per_process"))
_PROCESS = tuple(f.name for f in fields(ProcessSample))


def _encode(data: Mapping[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":"), default=str).encode()
