"""One run of a probe command: its output by lines, the end of its stderr, its orders."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence

from harness.core.errors import ProbeError
from harness.probe.lines import LONGEST


class Line:
    """One run of the command: its output by lines, the end of its stderr, its orders."""

    def __init__(self, argv: Sequence[str]) -> None:
        try:
            # A session of its own: Ctrl-C is ours to handle. It ends when its output has no reader.
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ProbeError(
                f"--probe-command {argv[0]!r}: {error.strerror}; expected a command such as "
                "'ssh host harness probe --pid 12'"
            ) from None
        self._said = b""
        self._errors = threading.Thread(target=self._listen, name="probe-stderr", daemon=True)
        self._errors.start()
        self._rest = b""

    def _listen(self) -> None:
        """Whoever reads a pipe closes it: a number closed by another thread may be somebody else's by then."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while data := os.read(pipe.fileno(), 4096):
                self._said = (self._said + data)[-4096:]

    def read(self) -> list[bytes]:
        """The next complete lines; empty at the end. Raises ProbeError for an endless line."""
        assert self._process.stdout is not None
        while True:
            if not (data := os.read(self._process.stdout.fileno(), 1 << 16)):
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
        try:
            code: int | None = self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            code = None
        self._errors.join(1.0)
        lines = self._said.decode(errors="replace").strip().splitlines()
        last = "".join(c if c.isprintable() else " " for c in lines[-1][-200:]) if lines else ""
        how = "closed its output" if code is None else f"exited with {code}"
        return f"the command {how}" + (f": {last}" if last else "")

    def kill(self) -> None:
        """End the command and whatever it started, so that whoever reads it comes to the end. Idempotent."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def close(self) -> None:
        """``kill``, and give back the pipes; only while nobody is in ``read``. Idempotent."""
        self.kill()
        self._errors.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    pass
