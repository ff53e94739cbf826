"""Services that the harness did not start: they are observed and never stopped."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod

from harness.core.errors import OptionError, ProbeError

POLL = 0.02  # seconds


class ObservedTarget(ABC):
    """The base class of such services: neither their log nor their exit code can be read. Each subclass defines how
    its exit is noticed."""

    logs = False
    lost = ""
    supervisor_pid = 0  # its orphans are adopted by a process that has other children too

    @property
    @abstractmethod
    def alive(self) -> bool:
        """False once it has exited."""

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for its exit; True when it has exited."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            time.sleep(POLL)
        return not self.alive

    def poll(self) -> int | None:
        """Always None: only the exit code of a child can be read."""
        return None

    def tail(self, lines: int = 20) -> tuple[str, ...]:  # noqa: ARG002 - same shape as Child.tail
        """Empty: the harness does not know its log."""
        return ()


class AttachedTarget(ObservedTarget):
    """A running process by pid. A directory descriptor on ``/proc/PID`` is held, so that the reuse of the pid by
    another process counts as the exit of this one (reads through it fail with ESRCH)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._proc = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise OptionError(
                "pid", pid, "no such process; expected the pid of the running service"
            ) from None
        except OSError as error:
            raise ProbeError(f"/proc/{pid} cannot be opened: {error.strerror}") from None

    @property
    def alive(self) -> bool:
        """False once the process is reaped or a zombie."""
        try:
            # Opened relative to the held directory: if the pid is reused, this fails with ESRCH instead of reading the
            # new process.
            stat = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError:
            return False
        try:
            return os.read(stat, 4096).rpartition(b")")[2].split()[0] != b"Z"
        except OSError:
            return False
        finally:
            os.close(stat)

    def stop(self, grace: float = 0.0) -> None:  # noqa: ARG002 - same shape as Child.stop
        """Close the descriptor; the service keeps running."""
        if self._proc >= 0:
            os.close(self._proc)
            self._proc = -1
