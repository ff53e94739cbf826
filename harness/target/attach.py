"""A service that somebody else started: watched, never stopped."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness.core.errors import ConfigError, ProbeError


class AttachedTarget:
    """A running process by pid. A directory descriptor on ``/proc/PID`` is held, so that a pid
    reused by another process is seen as the end of this one (reads through it fail with ESRCH)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._proc = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ConfigError(
                f"--pid {pid}: no such process; expected the pid of the running service"
            ) from None
        except OSError as error:
            raise ProbeError(f"--pid {pid}: /proc/{pid} cannot be opened: {error.strerror}") from None
        self.returncode: int | None = None  # never known: it is not our child

    @property
    def alive(self) -> bool:
        """False once the process is reaped or a zombie."""
        try:
            stat = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return False
        try:
            return os.read(stat, 4096).rpartition(b")")[2].split()[0] != b"Z"
        except OSError:
            return False
        finally:
            os.close(stat)

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for its end; True when it has ended."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.alive

    def poll(self) -> int | None:
        """Always None: the exit code of a process that is not our child cannot be read."""
        return None

    def tail(self, lines: int = 20) -> tuple[str, ...]:  # noqa: ARG002 - same shape as Child.tail
        """Its log is not ours to read."""
        return ()

    def stop(self, grace: float = 0.0) -> None:  # noqa: ARG002 - same shape as Child.stop
        """Let go of it; the service runs on."""
        if self._proc >= 0:
            os.close(self._proc)
            self._proc = -1


def listening_pid(port: int) -> int:
    """The process that listens on a TCP port of this machine, found through /proc.

    Raises ConfigError when nothing listens there, ProbeError when it may not be read.
    """
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        raise ConfigError(f"--attach-port {port}: nothing listens there; expected the service's port")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            for descriptor in (entry / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return int(entry.name)
        except OSError:
            continue
    raise ProbeError(
        f"--attach-port {port}: its process cannot be seen; expected the right to read /proc/PID/fd: "
        "run as the service's user or as root"
    )
