"""Ends a process group when the harness exits, for a command whose standard streams the harness itself uses, so that no
supervisor can be its parent. The watching process uses only the standard library, and has its own session."""

from __future__ import annotations

import signal
import subprocess
import sys

# The program of the watching process. It reads two lines: the group, and that the group is released. End of file before
# the second line means that the harness has exited.
WATCH = (
    "import os, sys\n"
    "group = sys.stdin.readline()\n"
    f"if group and not sys.stdin.readline(): os.killpg(int(group), {int(signal.SIGKILL)})\n"
)


class OrphanKiller:
    """Kills one process group if the harness exits before ``release``. Raises OSError when it cannot be started."""

    def __init__(self) -> None:
        self._has_group = False
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal must not end it before the harness.
            start_new_session=True,
        )

    def hold(self, group: int) -> None:
        """Kill this process group if the harness exits. Its number must not be reused before ``release``: do not wait
        for its leader until then."""
        self._has_group = True
        self._write_line(b"%d\n" % group)

    def release(self) -> None:
        """Release the process group. Idempotent."""
        if self._has_group:
            self._write_line(b"released\n")
        if self._watcher.stdin:
            try:
                self._watcher.stdin.close()
            except OSError:
                pass
        self._watcher.wait()

    def _write_line(self, line: bytes) -> None:
        assert self._watcher.stdin is not None
        try:
            self._watcher.stdin.write(line)
            self._watcher.stdin.flush()
        except (OSError, ValueError):
            pass  # the watching process was killed, or has exited already
