"""Snapshots of live allocations since tracing began.

Saved as JSON lines of one object (gzip), or read from what ``tracemalloc.Snapshot.dump`` wrote. Pure values;
reading a pickle allows the two classes it needs and nothing else.
"""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.core.errors import ConfigError, StoreError
from harness.core.note import Note
from harness.process.read import check_regular
from harness.runtime.counters import partial

FORMAT = "sse-leak-harness snapshot 1"
GZIP_MAGIC = b"\x1f\x8b"
PICKLED = {("tracemalloc", "Snapshot"), ("tracemalloc", "_Traces")}
SIZE_LIMIT = 1 << 30  # bytes of JSON

Trace = tuple[tuple[str, int], ...]  # (file, line), innermost first


@dataclass(frozen=True, slots=True)
class Snapshot:
    """traces: traceback → live (blocks, bytes). connections: opened so far, None if unknown. limit: frames recorded per
    traceback. dropped: tracebacks left out because there were too many."""

    traces: Mapping[Trace, tuple[int, int]]
    connections: int | None = None
    limit: int = 1
    dropped: int = 0
    notes: tuple[Note, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes alive."""
        return sum(size for _, size in self.traces.values())

    @property
    def blocks(self) -> int:
        """Blocks alive."""
        return sum(blocks for blocks, _ in self.traces.values())

    @classmethod
    def of_agent(cls, body: Mapping[str, Any]) -> Snapshot:
        """From an agent's answer to ``snapshot``."""
        frames = [(str(file), int(line)) for file, line in body["frames"]]
        traces = {
            tuple(frames[number] for number in numbers): (int(blocks), int(size))
            for blocks, size, numbers in body["traces"]
        }
        return cls(traces, None, int(body["limit"]), int(body["dropped"]), partial([body]))

    @classmethod
    def merged(cls, parts: Iterable[Snapshot]) -> Snapshot:
        """The sum over processes."""
        sums: dict[Trace, tuple[int, int]] = {}
        limit, dropped = 1, 0
        notes: dict[Note, None] = {}
        for part in parts:
            limit, dropped = max(limit, part.limit), dropped + part.dropped
            notes.update(dict.fromkeys(part.notes))
            for trace, (blocks, size) in part.traces.items():
                before = sums.get(trace, (0, 0))
                sums[trace] = (before[0] + blocks, before[1] + size)
        return cls(sums, None, limit, dropped, tuple(notes))

    def save(self, path: Path) -> None:
        """Write it with mode 0600, because it contains paths of the service's code. Raises StoreError."""
        numbers: dict[tuple[str, int], int] = {}
        traces = [
            [blocks, size, [numbers.setdefault(frame, len(numbers)) for frame in trace]]
            for trace, (blocks, size) in self.traces.items()
        ]
        body = {
            "format": FORMAT,
            "connections": self.connections,
            "limit": self.limit,
            "dropped": self.dropped,
            "frames": list(numbers),
            "traces": traces,
        }
        try:
            path.touch(mode=0o600)
            # Without a time in the header, so that the same snapshot always makes the same file.
            path.write_bytes(gzip.compress(json.dumps(body).encode(), mtime=0))
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; choose another folder") from None

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """Read a saved snapshot or a ``tracemalloc`` dump. Raises ConfigError."""
        check_regular(path, SIZE_LIMIT, expected="a saved snapshot")
        try:
            with path.open("rb") as file:
                magic = file.read(2)
                file.seek(0)
                if magic == GZIP_MAGIC:
                    return cls._of_json(file)
                return _of_pickle(file)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; expected a saved snapshot") from None
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            EOFError,
            zlib.error,
            RecursionError,
            ArithmeticError,
        ) as error:
            raise ConfigError(_not_a_snapshot(path, error)) from None
        except pickle.UnpicklingError as error:
            raise ConfigError(_not_a_snapshot(path, error)) from None

    @classmethod
    def _of_json(cls, file: IO[bytes]) -> Snapshot:
        with gzip.open(file) as unpacked:
            data = unpacked.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            raise ValueError("more than 1 GiB")
        body = json.loads(data)
        if body["format"] != FORMAT:
            raise ValueError(f"format {str(body['format'])[:60]!r}")
        # The saved form has the fields of an agent's answer.
        found = cls.of_agent(body)
        return cls(found.traces, body["connections"], found.limit, found.dropped)


def difference(before: Snapshot, after: Snapshot) -> dict[Trace, tuple[int, int]]:
    """traceback → change of (blocks, bytes) from ``before`` to ``after``; negative where memory was freed."""
    found = {}
    for trace in before.traces.keys() | after.traces.keys():
        old, new = before.traces.get(trace, (0, 0)), after.traces.get(trace, (0, 0))
        if new != old:
            found[trace] = (new[0] - old[0], new[1] - old[1])
    return found


def _not_a_snapshot(path: Path, error: Exception) -> str:
    return (
        f"{path}: not a snapshot ({type(error).__name__}: {error}); expected a file of `harness memory run` or of "
        "tracemalloc.Snapshot.dump"
    )


class _Restricted(pickle.Unpickler):
    """Reads a pickle that names no classes but tracemalloc's own two; any other pickle could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PICKLED:
            return _Plain
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class _Plain:
    """Stands in for tracemalloc's classes: attributes and nothing else."""

    traces: Any
    _traces: Any
    traceback_limit: int


def _of_pickle(file: IO[bytes]) -> Snapshot:
    dump = _Restricted(file).load()
    sums: dict[Trace, tuple[int, int]] = {}
    for record in dump.traces._traces:
        trace = tuple((str(file_), int(line)) for file_, line in record[2])
        blocks, size = sums.get(trace, (0, 0))
        sums[trace] = (blocks + 1, size + int(record[1]))
    return Snapshot(sums, None, int(dump.traceback_limit))
