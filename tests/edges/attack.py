"""Signals to every process of a run, at every step of it: ``python -m tests.edges.attack [PART …]``.

Each cell guards a leaking service, sends one signal to one process at one step, and checks the outcome, the exit code
and that no process stays behind. PART is part of a cell's name, such as ``supervisor-KILL`` or ``load``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SERVICE = Path(__file__).parents[1] / "services" / "attacked.py"
ROLES = ("harness", "supervisor", "swarm", "worker", "broker", "target", "probe")
SIGNALS = ("KILL", "TERM", "STOP")
STEPS = ("start", "load", "idle", "tracing", "report")
MAX_TIME = 25.0  # seconds that the harness is given
DEADLINE = 90.0  # seconds for a whole cell on a busy machine
LEFT_WITHIN = 3.0  # seconds in which every process must be gone
PAUSE = 0.01
# Seconds that a stopped harness misses: several readings of its probe, and a part of a cycle.
STOPPED_FOR = 1.0
IDLE_FOR = 0.1  # seconds without a stream that make a service idle


@dataclass(frozen=True, slots=True)
class Cell:
    """One signal to one process at one step."""

    role: str
    sent: str
    step: str

    @property
    def name(self) -> str:
        """``supervisor-KILL-load``."""
        return f"{self.role}-{self.sent}-{self.step}"

    @property
    def late(self) -> bool:
        """True once the leak is certain: its verdict stays."""
        return self.step in ("tracing", "report")

    def expected(self) -> set[tuple[str, int]]:
        """Outcomes and exit codes that are documented for it; "" where no verdict is printed."""
        leak = {("leaking", 1)}
        ours = {("infrastructure", 4)}
        short = {("inconclusive", 3)}  # --max-time came first
        if self.role == "harness":
            if self.sent == "KILL":
                return {("", -signal.SIGKILL)}
            # Python's own start takes a moment, in which the kernel's default action ends the process.
            unstarted = {("", -signal.SIGTERM)} if self.sent == "TERM" and self.step == "start" else set()
            return leak if self.sent == "STOP" or self.late else leak | short | unstarted
        if self.late:
            # The leak is certain by now. A service that exits has crashed as well, which is worse.
            return leak | {("crashed", 1)} if self.role == "target" else leak
        if self.role == "supervisor":
            return ours if self.sent == "KILL" else leak
        if self.role == "target":
            if self.step == "start":
                return {("unready", 1)}
            # Streams of a stopped service stall. The time may be up before enough of them have.
            return {("crashed", 1)} if self.sent != "STOP" else {("stalled", 1), *short}
        if self.role == "probe" and self.sent != "STOP" and self.step != "start":
            return ours | leak | short  # the command is started again
        if self.role == "worker" and self.sent != "STOP":
            return ours | leak | short  # the other worker may continue
        # The run waits for a stopped process of its own until the time is up.
        return ours if self.sent != "STOP" else ours | short


def cells(parts: Sequence[str] = ()) -> Iterator[Cell]:
    """Every cell whose name contains one of the parts. Without a process of that role there is no cell: a probe
    command reads no runtime, so nothing is traced through it."""
    for role in ROLES:
        for sent in SIGNALS:
            for step in STEPS:
                cell = Cell(role, sent, step)
                if role == "probe" and step == "tracing":
                    continue
                if not parts or any(part in cell.name for part in parts):
                    yield cell


class Run:
    """One guard under attack, and every process that it ever had."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        self.cell = cell
        self.folder = folder
        self.out = folder / "run"
        self.state = folder / "state"
        self.seen: dict[int, float] = {}
        self.service: subprocess.Popen[bytes] | None = None
        self._was_open = False
        self._idle_since: float | None = None
        self.process = subprocess.Popen(
            self._command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def _command(self) -> list[str]:
        role = self.cell.role
        words = [sys.executable, "-m", "harness.cli", "guard", "--quiet", "--out", str(self.out)]
        words += ["--json", str(self.folder / "json"), "--max-time", f"{MAX_TIME:g}s", "--runtime", "auto"]
        words += ["--connections", "40", "--concurrency", "20", "--dwell", "400ms", "--events", "8"]
        words += ["--settle", "200ms", "--sensitivity", "1/10", "--stall-after", "2s", "--retention", "0"]
        if role == "worker":
            words += ["--processes", "2"]
        if role == "broker":
            words += ["--with-broker"]
        if role != "probe":
            service = [sys.executable, str(SERVICE), "{port}", str(self.state)]
            return [*words, "--url", "http://127.0.0.1:{port}/e", "--", *service]
        from harness.target.spawn import free_port

        port = free_port()
        command = [sys.executable, str(SERVICE), str(port), str(self.state), "plain"]
        self.service = subprocess.Popen(command, start_new_session=True)
        probe = f"{sys.executable} -m harness.cli probe --pid {self.service.pid}"
        words[words.index("auto")] = "none"
        return [*words, "--url", f"http://127.0.0.1:{port}/e", "--probe-command", probe]

    def watch(self) -> list[psutil.Process]:
        """All descendants; each is remembered."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        for one in found:
            try:
                self.seen[one.pid] = one.create_time()
            except psutil.NoSuchProcess:
                continue
        return found

    def find(self) -> int | None:
        """The process of the cell's role."""
        marks = {
            "swarm": "harness.swarm.child",
            "worker": "harness.swarm.worker",
            "broker": "fake_broker",
            "target": str(SERVICE),
            "supervisor": str(SERVICE),
            "probe": "harness.cli probe",
        }
        if self.cell.role == "harness":
            return self.process.pid
        for one in self.watch():
            try:
                words = " ".join(one.cmdline())
                if (
                    marks[self.cell.role] not in words
                    or "supervisor.py" in words
                    or "harness.cli guard" in words
                ):
                    continue  # the last is a fork of the harness that has not become its supervisor yet
                if self.cell.role in ("supervisor", "target"):
                    parent = psutil.Process(one.ppid())
                    if "supervisor.py" not in " ".join(parent.cmdline()):
                        continue
                    return parent.pid if self.cell.role == "supervisor" else one.pid
                return one.pid
            except psutil.NoSuchProcess:
                continue
        return None

    def reached(self) -> bool:
        """True at the cell's step."""
        step = self.cell.step
        if step == "start":
            return True
        record = self._record()
        if step == "tracing":
            return any(note["kind"] == "stopped" for note in record.get("notes", ()))
        if step == "report":
            return record.get("verdict") is not None
        return self._open_streams(step) and len(record.get("observations", ())) >= 1

    def _open_streams(self, step: str) -> bool:
        try:
            open_now = int(self.state.read_text() or 0)
        except (OSError, ValueError):
            return False
        if open_now:
            self._was_open, self._idle_since = True, None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        if step == "load":
            return open_now > 0
        since = self._idle_since
        return self._was_open and since is not None and time.monotonic() - since >= IDLE_FOR

    def _record(self) -> dict[str, Any]:
        try:
            (trial,) = json.loads((self.out / "run.json").read_text())["trials"]
        except (OSError, ValueError, KeyError):
            return {}
        return dict(trial)

    def attack(self) -> bool:
        """Send the signal at its step; False when the run ended before."""
        number = getattr(signal, f"SIG{self.cell.sent}")
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < deadline:
            pid = self.find()
            if pid is not None and self.reached():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    return False
                return True
            time.sleep(PAUSE)
        return False

    def end(self) -> tuple[str, int, str]:
        """Wait for the exit: outcome, exit code and output. A stopped harness is continued after STOPPED_FOR
        seconds."""
        if self.cell.role == "harness" and self.cell.sent == "STOP":
            until = time.monotonic() + STOPPED_FOR
            while time.monotonic() < until:
                self.watch()  # what it started continues meanwhile
                time.sleep(PAUSE)
            self.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < deadline:
            self.watch()
            time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
        out, err = self.process.communicate()
        try:
            outcome = str(json.loads((self.folder / "json").read_text())["outcome"])
        except (OSError, ValueError, KeyError):
            outcome = ""
        return outcome, self.process.returncode, out + err

    def left(self) -> list[str]:
        """Processes of the run that are still alive after LEFT_WITHIN seconds."""
        deadline = time.monotonic() + LEFT_WITHIN
        while (found := list(self._alive())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _alive(self) -> Iterator[str]:
        for pid, created in self.seen.items():
            try:
                one = psutil.Process(pid)
                if one.create_time() == created and one.status() != psutil.STATUS_ZOMBIE:
                    yield f"{pid} {' '.join(one.cmdline())[:100]}"
            except psutil.NoSuchProcess:
                continue
        for one in psutil.process_iter():
            try:
                if str(self.folder) in " ".join(one.cmdline()) and (
                    self.service is None or one.pid != self.service.pid
                ):
                    yield f"{one.pid} {' '.join(one.cmdline())[:100]}"
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


@contextmanager
def under_attack(cell: Cell, folder: Path) -> Iterator[Run]:
    """A run that leaves no process of this test behind."""
    run = Run(cell, folder)
    try:
        yield run
    finally:
        for pid in [*run.seen, run.process.pid, *([run.service.pid] if run.service else [])]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        run.process.wait()
        if run.service:
            run.service.wait()


def wrong(cell: Cell, folder: Path) -> list[str]:
    """Run one cell; returns what is not as documented."""
    with under_attack(cell, folder) as run:
        sent = run.attack()
        outcome, code, text = run.end()
        left = run.left()
    found = []
    expected = cell.expected()
    if not sent:
        # The process exited before this step, so the run must end as it does without a signal.
        expected = {("leaking", 1)}
        if cell.step not in ("report", "tracing"):
            found.append("its step was never reached")
    if (outcome, code) not in expected:
        said = " | ".join(text.strip().splitlines()[-4:])
        found.append(f"{outcome or 'no verdict'} ({code}), expected {sorted(expected)}: {said[:600]}")
    if any(word in text for word in ("Traceback", "defect of the harness")):
        found.append(f"a traceback: {text[-600:]}")
    if cell.role == "harness" and cell.sent == "KILL" and cell.step not in ("start",):
        found += _unreadable(folder / "run" / "run.json")
    if left:
        found.append(f"still running: {left}")
    return found


def _unreadable(record: Path) -> list[str]:
    try:
        json.loads(record.read_text())
    except (OSError, ValueError) as error:
        return [f"{record.name} cannot be read: {error}"]
    return []


def main(parts: Sequence[str]) -> int:
    """Run the cells, print a line for each; the number of wrong ones."""
    bad = 0
    show: Callable[..., None] = print
    for cell in cells(parts):
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            began = time.monotonic()
            found = wrong(cell, Path(folder))
        bad += bool(found)
        show(f"{'WRONG' if found else 'ok':5} {time.monotonic() - began:5.1f} s {cell.name}", flush=True)
        for text in found:
            show(f"      {text}", flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
