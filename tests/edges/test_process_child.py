"""Children end with the harness, however it ends, and no process of theirs keeps running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import TargetError
from harness.process.child import Child
from harness.process.read import read_bounded

DEADLINE = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not true in time: {what}"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_exit_codes_and_output_arrive(tmp_path: Path) -> None:
    with Child.spawn(python("print('said'); raise SystemExit(7)"), log=tmp_path / "log", name="x") as child:
        assert child.wait(DEADLINE)
        assert child.returncode == 7
        assert child.tail() == ("said",)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_signal_is_a_negative_return_code(tmp_path: Path) -> None:
    with Child.spawn(python("import os; os.abort()"), log=tmp_path / "log", name="x") as child:
        assert child.wait(DEADLINE)
        assert child.returncode == -signal.SIGABRT


def test_a_command_that_cannot_run_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no-such-command"):
        Child.spawn(["no-such-command-anywhere"], log=tmp_path / "log", name="x")


def test_a_process_with_more_descriptors_than_select_takes_starts_children_and_reads_files(
    tmp_path: Path,
) -> None:
    """select(2) ends at 1,023; a test suite that holds many streams passes that."""
    held = [os.open(os.devnull, os.O_RDONLY)]
    (tmp_path / "body").write_text("a body")
    try:
        while held[-1] < 1100:
            held.append(os.dup(held[0]))
        with Child.spawn(python("print('said')"), log=tmp_path / "log", name="x") as child:
            assert child.wait(DEADLINE)
            assert (child.returncode, child.tail()) == (0, ("said",))
        assert read_bounded(tmp_path / "body", 10, option="--body", expected="a file") == b"a body"
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_limits_hold_in_the_child(tmp_path: Path) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    with Child.spawn(python(code), log=tmp_path / "log", name="x", rlimits={"nofile": 321}) as child:
        assert child.wait(DEADLINE)
        assert child.tail() == ("321",)


def test_stop_kills_one_that_ignores_sigterm_and_its_detached_grandchild(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        "    open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "    signal.pause()\n"
        "signal.pause()\n"
    )
    note = tmp_path / "grandchild"
    child = Child.spawn([*python(code), str(note)], log=tmp_path / "log", name="x")
    wait_for(lambda: note.exists() and note.read_text(), "the grandchild is up")
    grandchild = int(note.read_text())
    assert not gone(grandchild)
    child.stop(grace=0.1)
    assert gone(child.pid)
    assert gone(grandchild)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_harness(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "import pathlib, signal, sys\n"
        "from harness.process.child import Child\n"
        "child = Child.spawn([sys.executable, '-c', 'import signal; signal.pause()'],\n"
        "                    log=pathlib.Path(sys.argv[1]), name='x')\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()\n"
    )
    harness = subprocess.Popen([*python(code), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    assert not gone(pid)
    harness.send_signal(how)
    harness.wait()
    harness.stdout.close()
    wait_for(lambda: gone(pid), "the child died with the harness")


DETACHED = """
import os, signal, subprocess, sys
def note(): os.write(out, b"%d\\n" % os.getpid())
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
if os.fork() == 0:  # a plain worker
    note(); signal.pause()
if os.fork() == 0:  # a daemon
    os.setsid()
    if os.fork(): os._exit(0)
    note(); signal.pause()
if os.fork() == 0:  # a session of its own, its parent alive
    os.setsid(); note(); signal.pause()
if os.fork() == 0:  # an environment of its own: no mark
    os.setsid(); note(); os.execve(sys.executable, [sys.executable, "-c", "import signal; signal.pause()"], {})
note()
signal.pause()
"""


def kept_by(child: Child) -> int:
    """The supervisor's inner process, below its outer one."""
    outer = child._supervisor.pid
    (supervisor,) = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    return int(supervisor)


@pytest.mark.parametrize("killed", ["inner", "outer", "both"])
def test_nothing_outlives_a_killed_supervisor(killed: str, tmp_path: Path) -> None:
    """Forked workers, daemons and their own sessions have exited within 2 s, and the loss is not reported as an exit of
    the child."""
    note = tmp_path / "pids"
    code = DETACHED if killed != "both" else DETACHED.replace("{})", "os.environ)")
    child = Child.spawn([*python(code), str(note)], log=tmp_path / "log", name="x")
    wait_for(lambda: note.exists() and len(note.read_text().split()) == 5, "all are up")
    pids = [int(word) for word in note.read_text().split()]
    outer, supervisor = child._supervisor.pid, kept_by(child)
    began = time.monotonic()
    for pid in {"inner": [supervisor], "outer": [outer], "both": [outer, supervisor]}[killed]:
        os.kill(pid, signal.SIGKILL)
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() - began < 2.0, [pid for pid in pids if not gone(pid)]
        time.sleep(0.01)
    assert child.wait(DEADLINE)
    wait_for(lambda: child.lost, "the loss was noticed")
    assert child.returncode is None
    child.stop()


def test_a_stopped_supervisor_does_not_keep_the_child_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.process.child.START_TIMEOUT", 0.5)
    note = tmp_path / "pids"
    child = Child.spawn(
        [*python(DETACHED.replace("{})", "os.environ)")), str(note)], log=tmp_path / "log", name="x"
    )
    wait_for(lambda: note.exists() and len(note.read_text().split()) == 5, "all are up")
    supervisor = kept_by(child)
    os.kill(supervisor, signal.SIGSTOP)
    child.stop(grace=0.1)
    assert all(gone(int(word)) for word in note.read_text().split())
    wait_for(lambda: gone(supervisor), "the supervisor itself")


def test_an_endless_log_is_cut_to_its_tail(tmp_path: Path) -> None:
    """The child writes three times the limit at once, and then continues to write."""
    limit = 2 << 20
    code = (
        "import os, sys, time\n"
        f"for _ in range({3 * limit} // 1000): print('x' * 999, flush=True)\n"
        "while True:\n    print('y' * 999, flush=True); time.sleep(0.05)\n"
    )
    log = tmp_path / "log"
    with Child.spawn(python(code), log=log, name="x", log_limit=limit):
        wait_for(lambda: b"was cut to its tail" in log.read_bytes(), "the log was cut")
        wait_for(lambda: log.stat().st_size <= limit, "all of it")
        wait_for(lambda: log.read_bytes().endswith(b"y\n"), "what is said afterwards is still kept")
        rotated = (tmp_path / "log.old").read_bytes()
        assert rotated.startswith(b"xxx"), "what was cut is rotated"
        assert rotated.count(b"\n") >= limit // 1000
        assert (tmp_path / "log.old").stat().st_mode & 0o777 == 0o600
