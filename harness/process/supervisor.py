"""The parent of every child. Whatever happens to the harness, no process that it started keeps running.

Run as ``python -I -S supervisor.py``; the first line of its standard input is a JSON object ``{"argv", "env", "cwd",
"log", "rlimits", "log_limit", "mark"}``. Standard library only, one thread.

- It runs as two processes: the outer process, which the harness starts, and the inner process, its fork. Both are
  *subreapers* (prctl(2), PR_SET_CHILD_SUBREAPER), so descendants that detach themselves (double fork, setsid)
  stay within reach. If one of the two is killed, the other kills every descendant and reports ``{"lost": TEXT}``.
- Its standard input is a pipe from the harness: end of file means that the harness has exited, for whatever
  reason, and then every descendant is killed. ``stop SECONDS`` sends SIGTERM first.
- It writes JSON lines to standard output: ``{"pid": N, "supervisor": N}`` or ``{"error": TEXT}``, then
  ``{"exit": CODE}`` (negative for a signal), then ``{"swept": N}`` before it ends itself.
- The child gets PR_SET_PDEATHSIG, so that it is killed even if both are, and MARK in its environment, by which
  the harness then finds the child's descendants.
- A log above ``log_limit`` bytes is cut back to its tail, after it was rotated into ``NAME.old.log``: a service that
  logs without end must not fill the disk.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any, BinaryIO

MARK = "HARNESS_CHILD"  # the environment variable that descendants inherit; its value names one child
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h, as is the next one
PR_SET_CHILD_SUBREAPER = 36
END_POLL = 0.01  # seconds between two checks of processes that were asked to end
LOG_TAIL = 1 << 20  # bytes that remain of a log which was cut
LOG_WAS_CUT = b"[harness: the log passed %d bytes and was cut to its tail]\n"  # the first line of such a log
# Seconds to wait for killed descendants; only a task in uninterruptible sleep takes longer.
KILL_TIMEOUT = 5.0

OUTER_LOST = signal.SIGUSR1  # the kernel sends it to the inner process when the outer one exits

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def report(**fields: Any) -> None:
    """Write one line to the harness; that the harness has exited is not an error here."""
    try:
        os.write(1, (json.dumps(fields) + "\n").encode())
    except OSError:
        pass


def become_child(spec: dict[str, Any], log: int, failure: int) -> None:
    """In the forked child: execute the target. Never returns.

    spec: the order of the harness. log: the descriptor for its output. failure: the pipe on which errors are reported.
    """
    try:
        # A group of its own, so that a signal to the target does not reach the supervisor.
        os.setpgid(0, 0)
        os.environ.clear()
        os.environ.update(spec["env"])
        # Cleared by fork, kept by execve except for set-user-id programs (prctl(2)).
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The supervisor may have exited before the call above, and then no signal will come. Its orphan then has
        # process 1 as its parent.
        if os.getppid() == 1:
            os._exit(127)
        for name, value in spec["rlimits"].items():
            limit = getattr(resource, "RLIMIT_" + name.upper())
            hard = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (value, hard if hard != resource.RLIM_INFINITY else value))
        # Descriptor 0 is the pipe from the harness: a target that reads it would consume the harness's orders.
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.set_inheritable(failure, False)
        # execve(2) keeps ignored signals ignored, but the target must start with the default actions.
        for number in (
            signal.SIGPIPE,
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGCHLD,
            OUTER_LOST,
        ):
            signal.signal(number, signal.SIG_DFL)
        if spec["cwd"]:
            os.chdir(spec["cwd"])
        os.environ[MARK] = spec["mark"]
        open_max = os.sysconf("SC_OPEN_MAX")
        # Every descriptor above 2 is closed except the pipe for errors. A successful execve closes that one too, and
        # the parent then reads end of file: the command has started.
        os.closerange(3, failure)
        # The supervisor has a handful of descriptors. The limit may be a billion, and a kernel without close_range(2)
        # would close each number by itself.
        os.closerange(failure + 1, min(open_max, 65536))
        os.execvp(spec["argv"][0], spec["argv"])  # noqa: S606 - the command is the user's own
    # Whatever went wrong, the harness must learn of it: it waits for this report.
    except BaseException as error:
        os.write(failure, str(error).encode(errors="replace"))
    os._exit(127)


def parents() -> dict[int, int]:
    """pid → parent pid of every live process, from /proc/PID/stat (proc(5))."""
    table = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                    # The name of the program, in parentheses, may contain spaces and parentheses itself.
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            table[int(name)] = int(fields[1])
    return table


def descendants() -> list[int]:
    """Every process below this one, deepest last."""
    table = parents()
    found: list[int] = []
    frontier = {os.getpid()}
    while frontier:
        # A pid may be reused while /proc is read, so the table may have a cycle: no process is visited twice.
        frontier = {pid for pid, parent in table.items() if parent in frontier and pid not in found}
        found.extend(frontier)
    return found


class Supervisor:
    """One child and everything it starts."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.child = 0
        self.exit_code: int | None = None
        self.log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.outer_pid = os.getppid()

    def start(self) -> bool:
        """Fork and exec the child; False when that failed (already reported)."""
        reading, failure = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(reading)
            become_child(self.spec, self.log, failure)
        os.close(failure)
        # This read waits until the child has started its program, which closes the pipe, or until it reports an error.
        complaint = os.read(reading, 4096).decode(errors="replace")
        os.close(reading)
        if complaint:
            os.waitpid(self.child, 0)
            report(error=complaint)
            return False
        report(pid=self.child, supervisor=os.getpid())
        return True

    def reap(self) -> None:
        """Reap every child that has exited; report the exit of the target."""
        while True:
            try:
                # Every child, because this process also inherits orphans, which would otherwise stay zombies.
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child and self.exit_code is None:
                self.exit_code = os.waitstatus_to_exitcode(status)
                report(exit=self.exit_code)

    def sweep(self, grace: float) -> int:
        """End everything: SIGTERM to the child's group, SIGKILL to all after ``grace`` seconds."""
        if grace > 0 and self.exit_code is None:
            self.signal_group(signal.SIGTERM)
            # SIGTERM goes to the group alone. Descendants that left it get only the SIGKILL.
            deadline = time.monotonic() + grace
            while self.exit_code is None and time.monotonic() < deadline:
                time.sleep(END_POLL)
                self.reap()
        return kill_descendants(self.reap)

    def signal_group(self, number: int) -> None:
        try:
            os.killpg(self.child, number)
        except ProcessLookupError:
            pass

    def trim_log(self) -> None:
        """Cut an endless log back to its tail. On a full disk the tail is lost; the child keeps running."""
        try:
            size = os.fstat(self.log).st_size
            if size <= self.spec["log_limit"]:
                return
            with open(self.spec["log"], "rb") as log:  # noqa: PTH123
                self.keep_old(log)
                log.seek(max(0, size - LOG_TAIL))
                tail = log.read(LOG_TAIL)
            # The target writes with O_APPEND, so it continues at the new end of the file, without a hole.
            os.ftruncate(self.log, 0)
            os.write(self.log, LOG_WAS_CUT % size + tail)
        except OSError:
            pass  # the file was removed, or the disk is full: try again at the next check

    def keep_old(self, log: BinaryIO) -> None:
        """Rotate: copy the log to ``NAME.old.log``, which replaces the earlier copy."""
        stem, suffix = os.path.splitext(self.spec["log"])  # noqa: PTH122
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            old = os.open(f"{stem}.old{suffix}", flags, 0o600)
        except OSError:
            return
        try:
            while part := log.read(1 << 20):
                view = memoryview(part)
                # write(2) may write less than it was given, for example when the disk is almost full.
                while view:
                    view = view[os.write(old, view) :]
        except OSError:
            os.ftruncate(old, 0)  # the disk is full: only the tail is kept
        finally:
            os.close(old)

    def run(self) -> None:
        """Wait for orders, for exits of children, and for the exit of the harness."""
        reading, waking = os.pipe()
        os.set_blocking(reading, False)
        # set_wakeup_fd accepts only a descriptor that does not block.
        os.set_blocking(waking, False)
        # A signal between a check and poll would otherwise wait for the poll to end: the byte in this pipe ends it.
        signal.set_wakeup_fd(waking)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(OUTER_LOST, lambda *_: None)  # wakes the loop below
        # The kernel sends this signal when the outer process exits, so no check of the parent has to wait for a
        # timeout.
        _prctl(PR_SET_PDEATHSIG, OUTER_LOST, 0, 0, 0)
        if not self.start():
            return
        orders = b""
        waiting = select.poll()  # select(2) takes no descriptor above 1,023
        waiting.register(0, select.POLLIN)
        waiting.register(reading, select.POLLIN)
        while True:
            self.reap()
            # One second at most, so that the log is trimmed while nothing else happens.
            ready = {descriptor for descriptor, _ in waiting.poll(1000)}
            if reading in ready:
                os.read(reading, 4096)
            self.trim_log()
            if os.getppid() != self.outer_pid:
                report(lost="the outer process of its supervisor was killed")
                break
            if 0 in ready:
                chunk = os.read(0, 4096)
                orders += chunk
                if not chunk or b"\n" in orders:
                    break
        # Without an order, because the harness has exited or a supervisor was killed, nothing is given time to stop.
        words = orders.split()
        grace = float(words[1]) if len(words) == 2 and words[0] == b"stop" else 0.0
        report(swept=self.sweep(grace))


def read_order() -> bytes:
    """The first line of standard input. Nothing follows before the harness has its answer."""
    found = bytearray()
    while not found.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            break
        found += chunk
    return bytes(found)


def watch(supervisor: int) -> None:
    """In the outer process: wait for the inner one. If it was killed, kill every descendant in its place."""
    status = os.waitpid(supervisor, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return
    report(
        lost=f"its supervisor was killed by {signal.Signals(-code).name}"
        if code < 0
        else "its supervisor failed"
    )
    kill_descendants(reap_all)


def reap_all() -> None:
    """Reap every child that has exited."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill_descendants(reap: Callable[[], None]) -> int:
    """Kill every descendant, for KILL_TIMEOUT at most, and reap them; returns how many signals were sent."""
    swept = 0
    deadline = time.monotonic() + KILL_TIMEOUT
    while time.monotonic() < deadline:
        # Repeated, because a process may fork between the listing and its signal.
        alive = descendants()
        if not alive:
            break
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
                swept += 1
            except ProcessLookupError:
                pass
        time.sleep(END_POLL)
        reap()
    reap()
    return swept


def main() -> None:
    """Read the order, and run as the outer process and, after a fork, as the inner one."""
    # The supervisor ends when the harness does, not before: it must still kill the descendants.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        spec = json.loads(read_order())
    except (OSError, ValueError) as error:
        report(error=str(error))
        return
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisor = os.fork()
    if supervisor:
        watch(supervisor)
        return
    # A fork does not inherit this attribute (prctl(2)).
    _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        inner = Supervisor(spec)
    except OSError as error:
        report(error=str(error))
        return
    inner.run()


if __name__ == "__main__":
    main()
