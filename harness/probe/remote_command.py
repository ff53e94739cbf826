"""One run of a probe command: reads its output by lines and the end of its stderr, and sends it requests."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from harness.core.errors import ProbeError
from harness.probe.lines import MAX_LINE
from harness.process.orphan_killer import OrphanKiller

END_TIMEOUT = 2.0  # seconds for the end of a command whose output has ended, or that was killed
POLL = 0.01  # seconds between two checks whether the command has exited


class RemoteCommand:
    """One run of the command."""

    def __init__(self, argv: Sequence[str]) -> None:
        # A process that left the command's group may keep the pipes open for ever. The readers would then never see an
        # end of file, so ``kill`` wakes them by this descriptor (eventfd(2)).
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        orphan_killer = None
        try:
            orphan_killer = self._orphan_killer = OrphanKiller()
            # In a session of its own, so that Ctrl-C reaches only the harness.
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._wake)
            if orphan_killer:
                orphan_killer.release()
            raise ProbeError(
                f"the probe command {argv[0]!r}: {error.strerror}; expected a command such as 'ssh host harness probe'"
            ) from None
        self._orphan_killer.hold(self._process.pid)
        self._ending = threading.Lock()
        self._closed = False
        self._stderr_tail = b""
        self._rest = b""
        self._errors = threading.Thread(target=self._read_stderr, name="probe-stderr", daemon=True)
        self._errors.start()

    def _read_stderr(self) -> None:
        """Read stderr. The reading thread also closes the pipe: if another thread did, the number could be reused
        while it is read."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while data := self._next(pipe.fileno(), 4096):
                # Only the end is kept, because a command may write to stderr for as long as the run lasts.
                self._stderr_tail = (self._stderr_tail + data)[-4096:]

    def _next(self, pipe: int, most: int) -> bytes:
        """The bytes in the pipe, at most ``most`` of them; empty at end of file, and once the command was stopped."""
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        ready.register(self._wake, select.POLLIN)
        readable = [number for number, _ in ready.poll()]
        return b"" if self._wake in readable else os.read(pipe, most)

    def read(self) -> list[bytes]:
        """The next complete lines; empty at the end. Raises ProbeError for an endless line."""
        assert self._process.stdout is not None
        while True:
            if not (data := self._next(self._process.stdout.fileno(), 1 << 16)):
                return []
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > MAX_LINE:
                raise ProbeError(
                    f"the remote probe sent {len(self._rest)} bytes without a line break; expected JSON lines"
                )
            if lines:
                return [line for line in lines if line.strip()]

    def send(self, text: str) -> None:
        """Send a request. Raises ProbeError when the connection is broken."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise ProbeError(
                "the connection to the remote probe is broken; expected it to accept a request"
            ) from None

    def exit_text(self) -> str:
        """The exit of the command in words, with the last line of its stderr."""
        code = self._wait_for_exit(END_TIMEOUT)
        self._errors.join(1.0)
        # The reason is usually the last line: ssh prints banners and warnings before it.
        lines = self._stderr_tail.decode(errors="replace").strip().splitlines()
        last = "".join(c if c.isprintable() else " " for c in lines[-1][-200:]) if lines else ""
        how = "closed its output" if code is None else f"exited with {code}"
        return f"the command {how}" + (f": {last}" if last else "")

    def _wait_for_exit(self, timeout: float) -> int | None:
        """Its exit code, negative for a signal; None while it runs. It stays a zombie, so that its number, which
        is that of its group, is not reused before the group is killed."""
        ends = time.monotonic() + timeout
        while not (found := os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)):
            if time.monotonic() > ends:
                return None
            time.sleep(POLL)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def kill(self) -> None:
        """Kill the command and its process group; readers then reach the end. Idempotent."""
        with self._ending:
            if self._closed:
                return
            try:
                # The whole group, because ssh and shells start further processes.
                os.killpg(self._process.pid, signal.SIGKILL)
            except PermissionError:
                pass  # of another user, as with sudo: it ends as soon as its output has no reader
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """``kill``, and close every descriptor. Not while another thread is in ``read``. Idempotent."""
        self.kill()
        self._errors.join()
        with self._ending:
            if self._closed:
                return
            self._closed = True
            self._orphan_killer.release()
            os.close(self._wake)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    try:
                        pipe.close()
                    except OSError:
                        pass
            try:
                self._process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                pass  # in uninterruptible sleep, or of another user
