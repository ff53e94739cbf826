"""Writes every message to a file, one JSON object a line: monotonic time, direction, identity and frames in hex.

``{"at":12.345678,"way":"in","peer":"00a1…","frames":["","4d4450433032",…]}``. Only its owner can read the file (0600),
because frames may contain secrets.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

LIMIT = 256 * 1024 * 1024
"""Bytes. A journal of this size ends with a line that says so; the broker continues."""


class Journal:
    """Owns the file. Raises OSError when it cannot be opened; later errors end the journal, not the broker."""

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        # Without O_NONBLOCK, opening a pipe without a reader would block for ever.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        # The mode of a device must not be changed, and a pipe cannot be read back.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        os.fchmod(descriptor, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="ascii", buffering=1 << 16)
        self._left = limit
        self.lines = 0
        self.pending = False
        self.ended: str | None = None

    def write(self, at: float, way: str, peer: bytes, frames: Sequence[bytes]) -> None:
        """Write one message. at: seconds of the broker's clock. way: ``in`` or ``out``. Never raises."""
        if self.ended is not None:
            return
        hexes = ",".join(f'"{frame.hex()}"' for frame in frames)
        line = f'{{"at":{at:.6f},"way":"{way}","peer":"{peer.hex()}","frames":[{hexes}]}}\n'
        # The lines are ASCII, so their length in characters is their size in bytes.
        self._left -= len(line)
        if self._left < 0:
            self._end("the journal is full")
            return
        self.lines += 1
        self.pending = True
        try:
            self._file.write(line)
        except OSError as error:
            self._end(str(error))

    def flush(self) -> None:
        """Pass the buffered lines to the kernel; ``pending`` is true while there are any."""
        self.pending = False
        if self.ended is None:
            try:
                self._file.flush()
            except OSError as error:
                self._end(str(error))

    def _end(self, reason: str) -> None:
        self.ended = reason
        try:
            self._file.write(f'{{"ended":"{reason.encode("ascii", "replace").decode()}"}}\n')
            self._file.flush()
        except OSError:
            pass  # the disk is full, so the last line is missing

    def close(self) -> None:
        """Idempotent; never raises."""
        try:
            self._file.close()
        except OSError as error:
            self.ended = self.ended or str(error)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
