"""Folders of one run for its sockets: 0700, and removed by the next run of the same user if this one was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

from harness.process.closing import Closing

NAMES = ("broker", "runtime", "swarm")
OURS = re.compile(rf"harness-(?:{'|'.join(NAMES)})-[a-z0-9_]{{8}}")  # as mkdtemp makes them
LOCK = ".lock"
MAX_PARENT = 70  # bytes of the parent's path: a Unix socket's path has 107 at most (unix(7))
FALLBACK = "/tmp"  # noqa: S108 - mkdtemp makes a name that nobody can guess, with mode 0700
# Seconds after which a folder without a lock file counts as abandoned: a run makes that file right after the folder.
UNLOCKED_AGE = 3600.0


class PrivateFolder(Closing):
    """A new folder in the temporary folder, ``path``. name: one of NAMES.

    A lock on a file in it (flock(2)) shows that its run is alive; the kernel releases the lock however the run ends.
    Raises OSError when it cannot be made.
    """

    def __init__(self, name: str) -> None:
        parent = _parent()
        remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"harness-{name}-", dir=parent))
        # Another run may look at this folder at any moment. A lock file that it finds unlocked means an abandoned
        # folder, so the file gets its name only once it is locked.
        draft = self.path / f"{LOCK}.new"
        self._lock: int | None = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        draft.rename(self.path / LOCK)

    def close(self) -> None:
        """Remove it with all that is in it. Idempotent."""
        if self._lock is not None:
            # The lock is released last: while it is held, no other run takes this folder for an abandoned one.
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _parent() -> Path:
    parent = tempfile.gettempdir()
    too_long = len(os.fsencode(parent)) > MAX_PARENT
    return Path(FALLBACK if too_long and os.access(FALLBACK, os.W_OK | os.X_OK) else parent)


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove the private folders in ``parent`` that runs of this user have left behind, and return them. Never raises
    OSError: a folder that cannot be removed stays."""
    removed = []
    try:
        found = [entry for entry in os.scandir(parent) if OURS.fullmatch(entry.name)]
    except OSError:
        return []
    for entry in found:
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            # In /tmp anyone can make a folder, or a link to one, with such a name: only this user's own are removed.
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if ours and not status.st_mode & 0o077 and _is_abandoned(Path(entry.path), status.st_mtime):
                # rmtree follows no symbolic link, not even one that is created during the removal.
                shutil.rmtree(entry.path)
                removed.append(Path(entry.path))
    return removed


def _is_abandoned(folder: Path, changed: float) -> bool:
    """True when no process holds its lock. changed: time of the folder's last change, in seconds since the epoch."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _holds_only_sockets(folder) and time.time() - changed > UNLOCKED_AGE
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _holds_only_sockets(folder: Path) -> bool:
    """Whether only sockets are in the folder: its name alone does not prove that a run made it."""
    return all(stat.S_ISSOCK(path.lstat().st_mode) for path in folder.iterdir())
