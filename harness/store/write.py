"""Writing files safely: private modes, atomic replacement, one clear error."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from harness.core.errors import StoreError

PRIVATE_FILE = 0o600  # a run holds a service's log and its addresses
PRIVATE_DIRECTORY = 0o700
STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")  # already open, of any kind
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def failure(what: str, path: Path, error: OSError) -> StoreError:
    """One line: what could not be done, where, why, what to do."""
    reason = error.strerror or str(error)
    advice = (
        "free some space or choose another output folder"
        if error.errno in DISK_FULL
        else "choose another place"
    )
    return StoreError(f"cannot {what} {path}: {reason}; {advice}")


def check_output(option: str, path: Path | None) -> None:
    """Fail at the start, not at the end of a long run, for an output that cannot be written. Raises StoreError."""
    if path is None:
        return
    try:
        # Resolved only for its errors: a path whose links cannot be followed is no directory, but no file either.
        directory, _ = path.is_dir(), path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, or links in a circle
        why = getattr(error, "strerror", None) or error
        raise StoreError(f"{option} {path}: {why}; expected a file") from None
    if directory:
        raise StoreError(f"{option} {path}: it is a directory; expected a file")
    if _written_through(path):
        if not os.access(path, os.W_OK):
            raise StoreError(f"{option} {path}: not writable; expected a file that can be written")
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        why = "not writable" if path.parent.is_dir() else "no such directory"
        raise StoreError(f"{option} {path}: {path.parent}: {why}; expected a directory that can be written")


def make_directory(path: Path, *, fresh: bool = False) -> None:
    """Make a directory (and its parents), private if it is new. Raises StoreError; with ``fresh`` also
    when it exists."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=not fresh)
    except FileExistsError:
        if fresh and path.is_dir():
            raise
        raise StoreError(
            f"cannot write to {path}: it is a file; expected a directory, choose another output folder"
        ) from None
    except OSError as error:
        raise failure("write to", path, error) from None
    # A directory that existed before may be read-only. It is checked before the run, because an error when the report
    # is written would lose what was measured.
    if not os.access(path, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write to {path}: Permission denied; choose another output folder")


def replace_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Replace ``path`` by ``data`` atomically: a reader, also after a crash, finds the old or the new content, never
    a part. An existing file keeps its permissions, a link its target; a new file is private; a device or a pipe, such
    as /dev/stdout, is written to directly. data: whole or in pieces. Raises StoreError; the old content then
    stays."""
    pieces = (data,) if isinstance(data, bytes) else data
    if _written_through(path):
        _write_through(path, b"".join(pieces))
        return
    try:
        path = path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise StoreError(f"cannot write {path}: {error}") from None
    draft = path.with_name(f".{path.name}.new")
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else PRIVATE_FILE
        # A draft that a killed run left, or a symbolic link that another user made under its name: neither is opened.
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, PRIVATE_FILE)
        try:
            for piece in pieces:
                write_all(descriptor, piece)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # without the folder there is no draft to remove
            draft.unlink(missing_ok=True)
        raise failure("write", path, error) from None
    except ValueError:  # of a value that has no text
        draft.unlink(missing_ok=True)
        raise


def _written_through(path: Path) -> bool:
    """Whether a place is a stream that is open already, a device or a pipe, by whatever name or link: replacing it by
    a file would disconnect its other users."""
    try:
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError):
        return False
    if str(path).startswith(STREAMS) and not stat.S_ISDIR(mode):
        return True
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _write_through(path: Path, data: bytes) -> None:
    """A pipe only when it has a reader: opening one without a reader would block for ever."""
    try:
        # Opened for appending, so that standard output redirected to a file keeps the earlier lines.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            os.set_blocking(descriptor, True)
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise failure("write", path, error) from None


def write_all(descriptor: int, data: bytes) -> None:
    """write(2) until all is written: a nearly full disk takes a part first."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
