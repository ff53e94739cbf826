"""Every frame in a file, one JSON object a line: monotonic time, direction, identity and frames in hex.

``{"at":12.345678,"way":"in","peer":"00a1…","frames":["","4d4450433032",…]}``. The file is
readable by its owner only (0600), for frames may carry what a service would not want read.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

LIMIT = 256 * 1024 * 1024
"""Bytes; the journal ends there with a line that says so, and the broker goes on."""


class Journal:
    """Owns the file. Raises OSError when it cannot be opened; later errors end the journal, not the broker."""

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        # Not blocking: a pipe that nobody reads would be waited for, for ever.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a device would be closed to everybody else
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        os.fchmod(descriptor, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="ascii", buffering=1 << 16)
        self._left = limit
        self.lines = 0
        self.pending = False
        self.ended: str | None = None

    def write(self, at: float, way: str, peer: bytes, frames: Sequence[bytes]) -> None:
        """One message. way: ``in`` or ``out``."""
        if self.ended is not None:
            return
        hexes = ",".join(f'"{frame.hex()}"' for frame in frames)
        line = f'{{"at":{at:.6f},"way":"{way}","peer":"{peer.hex()}","frames":[{hexes}]}}\n'
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
        """Hand what is buffered to the kernel; ``pending`` says whether there is anything."""
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
            pass  # a full disk: nothing more can be said there

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
