"""Reads a file that a user names, of any type, with a limit on its size and on the time."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

from harness.core.errors import ConfigError
from harness.process.readable import readable

SILENT = 5.0  # seconds that a pipe or a device may send nothing
CHUNK = 1 << 20  # bytes of one read(2)
WRITER_POLL = 0.01  # seconds between two checks for the first writer of a named pipe


def read_bounded(path: Path, limit: int, *, option: str, expected: str, silent: float = SILENT) -> bytes:
    """The bytes of a file, a pipe or a device, at most ``limit`` of them.

    option: what names the file, such as ``--body @FILE``, for the error. expected: what it should be. silent: seconds
    without a byte after which reading a pipe fails. Raises ConfigError for a folder, a file that cannot be read,
    one that is too large and a pipe without a writer.
    """
    try:
        # Opening a pipe without a writer would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unreadable(option, error, expected) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise ConfigError(f"{option}: it is a directory; expected {expected}")
        if stat.S_ISREG(mode) and os.fstat(descriptor).st_size > limit:
            raise _too_large(option, limit, expected)
        return _read(descriptor, limit, option, expected, silent, pipe=stat.S_ISFIFO(mode))
    except OSError as error:
        raise _unreadable(option, error, expected) from None
    finally:
        os.close(descriptor)


def check_regular(path: Path, limit: int, *, expected: str) -> None:
    """Raises ConfigError unless ``path`` is a regular file of at most ``limit`` bytes: other types cannot be read
    twice."""
    try:
        seen = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error, expected) from None
    if not stat.S_ISREG(seen.st_mode):
        raise ConfigError(f"{path}: not a regular file; expected {expected}")
    if seen.st_size > limit:
        raise _too_large(str(path), limit, expected)


def _read(descriptor: int, limit: int, option: str, expected: str, silent: float, *, pipe: bool) -> bytes:
    found = bytearray()
    deadline = time.monotonic() + silent
    while len(found) <= limit:
        if not readable(descriptor, deadline - time.monotonic()):
            raise _stuck(option, silent, expected)
        try:
            # One byte more than allowed is enough to see that the file is too large.
            chunk = os.read(descriptor, min(CHUNK, limit + 1 - len(found)))
        except BlockingIOError:
            # Another reader of the same pipe took the bytes after poll(2).
            continue
        if not chunk:
            # read(2) returns no bytes at the end of a file, and also on a pipe that no process has opened for writing
            # (pipe(7)).
            if not pipe or found or not _awaits_writer(descriptor):
                return bytes(found)
            if time.monotonic() >= deadline:
                raise _stuck(option, silent, expected)
            # poll(2) reports such a pipe as readable at once, so without a pause this loop would spin.
            time.sleep(WRITER_POLL)
            continue
        found += chunk
        deadline = time.monotonic() + silent
    raise _too_large(option, limit, expected)


def _awaits_writer(descriptor: int) -> bool:
    """True for a named pipe that has had no writer yet: until then its reader gets end of file."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not any(events & select.POLLHUP for _, events in poll.poll(0))


def _unreadable(option: str, error: Exception, expected: str) -> ConfigError:
    number = error.errno if isinstance(error, OSError) else None
    reason = (
        # open(2) of a socket fails with ENXIO, "No such device or address", which would puzzle the user.
        "it is a socket"
        if number == errno.ENXIO
        else (error.strerror if isinstance(error, OSError) else None) or str(error)
    )
    return ConfigError(f"{option}: cannot be read: {reason}; expected {expected}")


def _too_large(option: str, limit: int, expected: str) -> ConfigError:
    return ConfigError(f"{option}: more than {limit:,} bytes; expected {expected}, no larger")


def _stuck(option: str, silent: float, expected: str) -> ConfigError:
    return ConfigError(f"{option}: sent nothing for {silent:g} s; expected {expected}")
