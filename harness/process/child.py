"""A child process that cannot outlive the harness, seen from the harness."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import SupervisorLost, TargetError
from harness.process.readable import readable
from harness.process.supervisor import MARK

MARKED_KILL_TIMEOUT = 1.0  # seconds in which descendants without a supervisor are searched and killed
KILL_PAUSE = 0.01  # seconds between two searches, in which killed processes disappear
SUPERVISOR = Path(__file__).with_name("supervisor.py")
START_TIMEOUT = 10.0  # seconds until the supervisor must have reported the start
STOP_TIMEOUT = 10.0  # seconds beyond the grace period until the supervisor must have exited
LOG_LIMIT = 64 << 20  # bytes of log kept on disk per child
# What a Python needs to start. The rest of the environment may hold secrets, which a supervisor has no use for.
SUPERVISOR_NEEDS = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR")


def marked_pids(mark: str) -> list[int]:
    """Descendants of a child whose supervisor was killed: the processes whose environment at exec(2) carried its mark,
    this one excepted; environ is in proc(5)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        # It has exited since, or belongs to another user, whose environment only root may read (ptrace(2), access
        # mode).
        except OSError:
            continue
        if wanted in variables:
            found.append(int(entry.name))
    return found


def kill_marked(mark: str) -> None:
    """Kill the processes with this mark, and what they fork in the meantime. A zombie has no environment and ends the
    search."""
    deadline = time.monotonic() + MARKED_KILL_TIMEOUT
    while (pids := marked_pids(mark)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        time.sleep(KILL_PAUSE)


def send_spec(supervisor: subprocess.Popen[bytes], spec: Mapping[str, object]) -> None:
    """Send the supervisor its order over its standard input.

    /proc shows command lines to other users, so the order must not be an argument; an argument is also
    limited to 128 KiB (execve(2), MAX_ARG_STRLEN). If the supervisor has exited, its answer will be missing.
    """
    assert supervisor.stdin is not None
    try:
        supervisor.stdin.write(json.dumps(spec).encode() + b"\n")
        supervisor.stdin.flush()
    except BrokenPipeError:
        pass


class Child:
    """One process in its own process group, with its own limits and log, under a supervisor.

    ``returncode`` is None while it runs, negative for a signal (as in ``subprocess``). ``lost`` says why the
    supervisor can no longer report on the child, such as ``its supervisor was killed by SIGKILL``; the child and its
    descendants are then killed, and the return code stays unknown. ``supervisor_pid`` is the subreaper directly above
    the child: its orphans become children of that process.
    """

    logs = True

    def __init__(
        self, supervisor: subprocess.Popen[bytes], answer: Mapping[str, int], log: Path, name: str, mark: str
    ) -> None:
        self._supervisor = supervisor
        self._mark = mark
        self._swept = False
        self.lost = ""
        self.pid = answer["pid"]
        self.supervisor_pid = answer["supervisor"]  # the inner process; _supervisor is the outer one
        self.log = log
        self.name = name
        self.returncode: int | None = None
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"child-{name}", daemon=True)
        self._reader.start()

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        log: Path,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        rlimits: Mapping[str, int] | None = None,
        log_limit: int = LOG_LIMIT,
    ) -> Child:
        """Start ``argv``; stdout and stderr go to ``log`` (0600). rlimits: ``{"nofile": 1024}``.

        Raises TargetError when the command cannot be executed.
        """
        spec = {
            "argv": list(argv),
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd) if cwd else None,
            "log": str(log),
            "rlimits": dict(rlimits or {}),
            "log_limit": log_limit,
            # Random, so that no process of another run can have it.
            "mark": secrets.token_hex(16),
        }
        # In a session of its own, Ctrl-C in the terminal reaches only the harness, which then stops its children in
        # order.
        supervisor = subprocess.Popen(
            # -I and -S: variables such as PYTHONPATH, and the packages installed here, must not change the supervisor.
            [sys.executable, "-I", "-S", str(SUPERVISOR)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in SUPERVISOR_NEEDS if name in os.environ},
            start_new_session=True,
        )
        send_spec(supervisor, spec)
        assert supervisor.stdout is not None
        # The supervisor writes each line with one write(2), so a line that has begun to arrive is complete. A
        # supervisor that SIGSTOP stopped never writes one.
        first = supervisor.stdout.readline() if readable(supervisor.stdout.fileno(), START_TIMEOUT) else b""
        answer: dict[str, Any] = json.loads(first) if first else {"lost": "its supervisor did not start"}
        if "pid" not in answer:
            if "lost" in answer:
                # Without an answer it is unknown whether the target was started, so the mark is searched as well.
                supervisor.kill()
                kill_marked(str(spec["mark"]))
            supervisor.wait(START_TIMEOUT)
            for pipe in (supervisor.stdin, supervisor.stdout):
                if pipe:
                    pipe.close()
            if "lost" in answer:
                raise SupervisorLost(f"{name}: {answer['lost']}; run it again")
            raise TargetError(
                f"{name}: cannot run {argv[0]!r}: {answer['error']}; expected a command that can be executed",
                advice="check its path, its permissions and its first line (#!)",
            )
        return cls(supervisor, answer, log, name, str(spec["mark"]))

    def _read(self) -> None:
        """Process the supervisor's reports until it exits. Runs in a thread of its own."""
        assert self._supervisor.stdout is not None
        for line in self._supervisor.stdout:
            message = json.loads(line)
            if "lost" in message:
                self.lost = message["lost"]
            elif "swept" in message:
                self._swept = True
            elif "exit" in message and not self.lost:
                # A child that is killed with its supervisor may be reaped before the loss of the supervisor is
                # reported.
                self.returncode = message["exit"]
            if "exit" in message or "lost" in message:
                self._ended.set()
        # ``swept`` is the last line of every supervisor. Without it the descendants may still run.
        if not self._swept:
            self.lost = self.lost or "both processes of its supervisor were killed"
            self._kill_marked()
        self._ended.set()

    def _kill_marked(self) -> None:
        """Kill the descendants that have no supervisor any more."""
        self.signal(signal.SIGKILL)
        kill_marked(self._mark)

    def poll(self) -> int | None:
        """The return code, or None while the child lives."""
        return self.returncode

    @property
    def alive(self) -> bool:
        """True until the child has exited."""
        return not self._ended.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for its exit; True when it has exited."""
        return self._ended.wait(timeout)

    def signal(self, number: int) -> None:
        """Send a signal to the child's process group; a group that has exited is not an error."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def stop(self, grace: float = 3.0) -> None:
        """SIGTERM to the group, SIGKILL to every descendant after ``grace`` seconds. Idempotent."""
        assert self._supervisor.stdin is not None
        if self._supervisor.poll() is None:
            try:
                self._supervisor.stdin.write(f"stop {grace}\n".encode())
                self._supervisor.stdin.close()
            except OSError:
                pass
        try:
            # After the grace period the supervisor kills descendants for ``supervisor.KILL_TIMEOUT`` (5 s) at most.
            self._supervisor.wait(grace + STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # One of the supervisor's two processes does not react, for example because SIGSTOP stopped it.
            for pid in (self._supervisor.pid, self.supervisor_pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._supervisor.wait()
            self._kill_marked()
        self._reader.join(1.0)
        if self._supervisor.stdout:
            self._supervisor.stdout.close()

    def tail(self, lines: int = 20, limit: int = 1 << 20) -> tuple[str, ...]:
        """The last lines of the log, at most ``limit`` bytes of it."""
        try:
            with self.log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                # A log may have LOG_LIMIT bytes; its last lines are in its last part.
                log.seek(max(0, log.tell() - limit))
                text = log.read(limit).decode(errors="replace")
        except OSError:
            return ()
        return tuple(text.splitlines()[-lines:])

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
