"""Where a new run may write: a folder that holds a run is never overwritten."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import ConfigError, OptionError, StoreError
from harness.store.write import PRIVATE_FILE, failure, make_directory

RUN_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-.+")  # harness.store.run_dir.run_id
MAX_RUNS = 100  # runs that may have the same id


def claim(out: Path, run_id: str, *, marker: str, signs: Sequence[str]) -> Path:
    """The folder for a new run: ``out`` itself, or ``out/<run-id>`` when ``out`` already holds a run.

    marker: the file whose exclusive creation decides between two runs that start at once. signs: patterns of
    files that only a run leaves. Raises ConfigError when ``out`` names one saved run, StoreError when nothing
    can be written.
    """
    make_directory(out)
    if not holds_run(out, (marker, *signs)) and _mark(out / marker):
        return out
    if RUN_ID.fullmatch(out.name):
        raise OptionError(
            "out", out, f"this run exists already; expected a new folder, or {out.parent} to add a run to it"
        )
    return fresh(out, run_id, marker=marker)


def fresh(parent: Path, run_id: str, *, marker: str) -> Path:
    """A new folder ``parent/<run-id>``, numbered when the name is taken. Raises StoreError."""
    for number in range(1, MAX_RUNS + 1):
        folder = parent / (run_id if number == 1 else f"{run_id}-{number}")
        try:
            make_directory(folder, fresh=True)
        except FileExistsError:
            continue
        _mark(folder / marker)
        return folder
    raise StoreError(
        f"cannot write to {parent / run_id}: it and {MAX_RUNS - 1} more exist; choose another output folder"
    )


def lock(folder: Path) -> int:
    """Hold the folder of a run while this process measures in it: a descriptor, whose lock (flock(2)) ends with the
    process however that ends. Raises ConfigError while another process holds it, StoreError when it cannot be
    opened."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise failure("open", folder, error) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise ConfigError(
            f"{folder}: another process is still measuring here; expected a finished run: stop that process first"
        ) from None
    except OSError:
        pass  # a file system without locks: there a second run of the same folder is not prevented
    return held


def holds_run(folder: Path, signs: Sequence[str]) -> bool:
    """True when a run has left one of its files in this folder."""
    return any(next(folder.glob(sign), None) is not None for sign in signs)


def _mark(path: Path) -> bool:
    """Create the marker; False when another run created it first."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
    except FileExistsError:
        return False
    except OSError as error:
        raise failure("write", path, error) from None
    return True
