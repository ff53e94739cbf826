"""A run on disk: ``run.json``, ``samples.jsonl`` and a folder per trial.

``run.json`` is replaced as a whole after each cycle, so an interruption, even ``kill -9``, loses at
most one cycle; samples are appended and lose at most a second.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from harness.core.errors import ConfigError, StoreError
from harness.core.record import RunRecord
from harness.core.record_codec import from_dict, parts, to_dict
from harness.core.sample import Sample
from harness.process.closing import Closing
from harness.store.claim import claim, fresh, lock
from harness.store.lines import LineFile, SampleWriter, read_sample, tag
from harness.store.thin import thinned
from harness.store.write import make_directory, replace_file

REPORTS = Path("reports")
RECORD, SAMPLES = "run.json", "samples.jsonl"
EVENTS = "events.jsonl"  # written by earlier versions: a folder with one holds a run
MAX_NAME = 80  # characters of a name that remain in a file name, which may have 255 bytes
MAX_RECORD = 1 << 30  # bytes of a run.json
MAX_LINE = 16 << 20  # bytes of a line of samples


def run_id(now: datetime.datetime, suffix: int | str) -> str:
    """``2026-03-01T12-30-05-4711``: sorts by time, is a file name everywhere. now: any time zone."""
    return f"{now.astimezone(datetime.UTC):%Y-%m-%dT%H-%M-%S}-{safe_name(str(suffix))}"


def safe_name(name: str) -> str:
    """``name`` as one harmless path component; different names give different results."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:MAX_NAME].lstrip(".-")
    return (
        plain
        if plain and plain == name
        else f"{plain or 'trial'}-{zlib.crc32(name.encode(errors='replace')):08x}"
    )


class RunDirectory(Closing):
    """The folder of one run. A context manager; without one, call ``close`` at the end."""

    def __init__(self, path: Path, run_id: str, lock: int | None = None) -> None:
        self.path = path
        self.run_id = run_id
        self._lock = lock
        self._samples: LineFile | None = None

    @classmethod
    def create(cls, out: Path | None, run_id: str, *, reports: Path = REPORTS) -> RunDirectory:
        """``out``, or ``reports/<run-id>`` (numbered if taken). A run that ``out`` already holds is kept: the
        new run gets ``out/<run-id>``. Raises ConfigError when ``out`` names one saved run, StoreError when
        nothing can be written."""
        if out is None:
            path = fresh(reports, run_id, marker=SAMPLES)
            return cls(path, path.name, lock(path))
        path = claim(out, run_id, marker=SAMPLES, signs=(RECORD, EVENTS, "*/target.log"))
        return cls(path, path.name if path != out else run_id, lock(path))

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, for writing further files into its folder. Raises ConfigError without one, StoreError."""
        folder = _folder(path)
        return cls(folder, _read_record(folder / RECORD).run_id)

    @classmethod
    def resume(cls, path: Path) -> RunDirectory:
        """An interrupted run, for measuring on in its folder. Raises ConfigError without one and while another
        process measures in it, StoreError when it cannot be read or written."""
        folder = _folder(path)
        directory = cls(folder, "", lock(folder))
        try:
            make_directory(folder)
            directory.run_id = directory.record().run_id
        except BaseException:
            directory.close()
            raise
        return directory

    @staticmethod
    def load(path: Path) -> tuple[RunRecord, Iterator[tuple[str, Sample]]]:
        """A saved run (its folder or its ``run.json``): the record, and every sample with its trial's
        name, read as it is asked for. Raises StoreError when it is missing or damaged and ConfigError
        when a newer harness wrote it."""
        folder = _folder(path)
        return _read_record(folder / RECORD), _read_samples(folder / SAMPLES, None)

    def trial_dir(self, name: str) -> Path:
        """The folder of one trial (0700): its ``target.log`` and its other files."""
        folder = self.path / safe_name(name)
        make_directory(folder)
        return folder

    def samples(self, trial: str) -> SampleWriter:
        """A writer for one trial's samples."""
        if self._samples is None:
            self._samples = LineFile(self.path / SAMPLES)
        return SampleWriter(self._samples, trial)

    def thin_samples(self, at: float, ages: tuple[tuple[float, float], ...]) -> None:
        """Thin the samples so far by their age (``harness.store.thin``). at: seconds since the run's start. Raises
        StoreError; they then stay as they are."""
        if self._samples is not None:
            self._samples.rewrite(lambda lines: thinned(lines, at, ages))

    def checkpoint(self, record: RunRecord) -> None:
        """Replace ``run.json`` atomically, with the samples up to now flushed before it. Raises
        StoreError; the last good ``run.json`` then stays."""
        if self._samples is not None:
            self._samples.flush()
        replace_file(self.path / RECORD, chain(parts(to_dict(record), indent=1), (b"\n",)))

    def write_text(self, name: str, text: str) -> Path:
        """Write a report file (UTF-8, 0600) atomically; its path. Raises StoreError."""
        path = self.path / name
        replace_file(path, text.encode(errors="replace"))
        return path

    def record(self) -> RunRecord:
        """The saved record. Raises StoreError and ConfigError as ``load`` does."""
        return _read_record(self.path / RECORD)

    def read_samples(self, trial: str) -> Iterator[Sample]:
        """One trial's samples, oldest first, as far as they are on disk. A line that cannot be read becomes a gap,
        like a gap of the probe; never a zero."""
        if self._samples is not None:
            self._samples.flush()
        return (sample for _, sample in _read_samples(self.path / SAMPLES, trial))

    def last_written(self) -> tuple[float, float]:
        """When the newest sample was read, in seconds since the run's start (0 without one), and when something was
        last written, in seconds since the epoch."""
        at = 0.0
        for _, sample in _read_samples(self.path / SAMPLES, None):
            at = max(at, sample.at)
        known = [path for name in (RECORD, SAMPLES) if (path := self.path / name).exists()]
        return at, max((path.stat().st_mtime for path in known), default=0.0)

    def close(self) -> None:
        """Flush and close every open file. Raises StoreError."""
        if self._samples is not None:
            self._samples.close()
            self._samples = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _folder(path: Path) -> Path:
    """The folder of a run. Raises ConfigError when there is none, because the user gave the path."""
    folder = path.parent if path.name == RECORD else path
    if not (folder / RECORD).is_file():
        raise ConfigError(f"no run at {path}: expected a folder with {RECORD}, such as {REPORTS}/<run-id>")
    return folder


def _read_record(path: Path) -> RunRecord:
    try:
        if path.stat().st_size > MAX_RECORD:
            raise StoreError(f"cannot read {path}: more than {MAX_RECORD:,} bytes; expected a run record")
        data = json.loads(path.read_bytes())
        return from_dict(data)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; run as the user who made the run") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise StoreError(f"cannot read {path}: it is nested too deeply; restore it or run again") from None
    except ValueError as error:
        raise StoreError(f"cannot read {path}: it is not JSON ({error}); restore it or run again") from None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        if path.exists() and not path.is_file():
            raise StoreError(f"cannot read {path}: it is not a regular file; restore it or remove it")
        with path.open("rb") as file:
            # A line is bounded: a file without line ends must not fill the memory.
            while line := file.readline(MAX_LINE):
                if line.endswith(b"\n") or len(line) < MAX_LINE:
                    yield line
                    continue
                yield b"\n"  # as a line that cannot be read
                while len(line) == MAX_LINE and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None


def _read_samples(path: Path, wanted: str | None) -> Iterator[tuple[str, Sample]]:
    start = tag(wanted) if wanted is not None else b""
    trial, at = "", 0.0  # of the last sample that was read
    for number, line in enumerate(_lines(path), start=1):
        if start and line.startswith(b'{"trial":') and not line.startswith(start):
            trial = ""  # a line that cannot be read after this one is no gap of the trial wanted
            continue
        try:
            data = json.loads(line)
            trial, sample = str(data["trial"]), read_sample(data)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            # After a kill the last line is cut, and nothing is known between its neighbours.
            if trial and (wanted is None or trial == wanted):
                yield trial, Sample(at=at, gap=f"line {number} of {path.name} cannot be read")
            continue
        at = sample.at
        if wanted is None or trial == wanted:
            yield trial, sample
