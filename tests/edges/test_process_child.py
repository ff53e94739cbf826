"""Children end with the harness, however it ends; what they leave behind is nothing."""

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

DEADLINE = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
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


def test_a_child_dies_even_when_its_keeper_is_killed(tmp_path: Path) -> None:
    child = Child.spawn(python("import signal; signal.pause()"), log=tmp_path / "log", name="x")
    os.kill(child._keeper.pid, signal.SIGKILL)
    wait_for(lambda: gone(child.pid), "PDEATHSIG reached the child")
    assert child.wait(DEADLINE)
    child.stop()


def test_an_endless_log_is_cut_to_its_tail(tmp_path: Path) -> None:
    """Three times as much as is allowed at once, and then on and on."""
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
