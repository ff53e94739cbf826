"""One run of a probe command: its output by lines, the end of its stderr, its orders."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from harness.core.errors import ProbeError
from harness.probe.lines import LONGEST
from harness.process.leash import Leash

END_TIMEOUT = 2.0  # seconds for the end of a command whose output has ended, or that was killed
POLL = 0.01


class Line:
    """One run of the command: its output by lines, the end of its stderr, its orders."""

    def __init__(self, argv: Sequence[str]) -> None:
        # Whoever left the command's group may hold its pipes for ever: readers are woken up by this one, not by
        # the end of theirs.
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        leash = None
        try:
            leash = self._leash = Leash()
            # A session of its own: Ctrl-C is ours to handle.
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._wake)
            if leash:
                leash.release()
            raise ProbeError(
                f"the probe command {argv[0]!r}: {error.strerror}; expected a command such as 'ssh host harness probe'"
            ) from None
        self._leash.hold(self._process.pid)
        self._ending = threading.Lock()
        self._closed = False
        self._said = b""
        self._rest = b""
        self._errors = threading.Thread(target=self._listen, name="probe-stderr", daemon=True)
        self._errors.start()

    def _listen(self) -> None:
        """Whoever reads a pipe closes it: a number closed by another thread may be somebody else's by then."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while data := self._next(pipe.fileno(), 4096):
                self._said = (self._said + data)[-4096:]

    def _next(self, pipe: int, most: int) -> bytes:
        """What the pipe has, at most ``most`` bytes; empty at its end, and once the command was ended."""
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        ready.register(self._wake, select.POLLIN)
        came = [number for number, _ in ready.poll()]
        return b"" if self._wake in came else os.read(pipe, most)

    def read(self) -> list[bytes]:
        """The next complete lines; empty at the end. Raises ProbeError for an endless line."""
        assert self._process.stdout is not None
        while True:
            if not (data := self._next(self._process.stdout.fileno(), 1 << 16)):
                return []
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > LONGEST:
                raise ProbeError(
                    f"the remote probe sent {len(self._rest)} bytes without a line's end; expected JSON lines"
                )
            if lines:
                return [line for line in lines if line.strip()]

    def order(self, text: str) -> None:
        """Raises ProbeError when the line is cut."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise ProbeError("the line to the remote probe is cut; expected it to take an order") from None

    def why(self) -> str:
        """How the command ended, with the last thing it said."""
        code = self._ended(END_TIMEOUT)
        self._errors.join(1.0)
        lines = self._said.decode(errors="replace").strip().splitlines()
        last = "".join(c if c.isprintable() else " " for c in lines[-1][-200:]) if lines else ""
        how = "closed its output" if code is None else f"exited with {code}"
        return f"the command {how}" + (f": {last}" if last else "")

    def _ended(self, timeout: float) -> int | None:
        """Its exit code, negative for a signal; None while it runs. It stays a zombie: its number, which is its
        group's, must not be given to others before the group is killed."""
        ends = time.monotonic() + timeout
        while not (found := os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)):
            if time.monotonic() > ends:
                return None
            time.sleep(POLL)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def kill(self) -> None:
        """End the command and whatever it started in its group; whoever reads it comes to the end. Idempotent."""
        with self._ending:
            if self._closed:
                return
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except PermissionError:
                pass  # sudo's: it ends as soon as its output has no reader
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """``kill``, and give back every descriptor; only while nobody is in ``read``. Idempotent."""
        self.kill()
        self._errors.join()
        with self._ending:
            if self._closed:
                return
            self._closed = True
            self._leash.release()
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
                pass  # an uninterruptible sleep, or one that was not ours to kill
