"""The hot lane reads one process correctly, and reports None for what it cannot read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.core.errors import ProbeError
from harness.probe import hot
from harness.probe.hot import HotProcess
from harness.probe.tree import EXITED, Tree
from tests.edges.probe_target import DEADLINE, ScriptedProcess, asleep, state, wait_for


@pytest.mark.parametrize("hold", [True, False])
def test_every_number_equals_that_of_psutil(hold: bool) -> None:
    with ScriptedProcess() as scripted:
        scripted.run("import os, threading; kept += [os.open('/dev/null', 0) for _ in range(37)]")
        scripted.run(
            "stop = threading.Event(); [threading.Thread(target=stop.wait).start() for _ in range(5)]"
        )
        used = scripted.run("import time; sum(i * i for i in range(300_000)); answer = time.process_time()")
        wait_for(lambda: asleep(scripted.pid), "what its threads do at their start is done")
        process = HotProcess(scripted.pid, hold=hold)
        reading, other = process.read(), psutil.Process(scripted.pid)
        process.close()
        assert reading
        assert reading.fds == other.num_fds()
        assert reading.threads == other.num_threads() == 6
        assert reading.rss == other.memory_info().rss
        assert reading.parent == os.getpid()
        assert not reading.zombie
        assert reading.cpu == pytest.approx(sum(other.cpu_times()[:2]), abs=0.03)
        assert reading.cpu >= float(str(used)) > 0.0
        assert reading.switches is not None
        assert reading.switches >= 1
        assert reading.faults > 100
        scripted.run("stop.set()")


def test_listing_and_stat_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of kernels before 6.2."""
    with ScriptedProcess() as scripted:
        scripted.run("import os; kept += [os.open('/dev/null', 0) for _ in range(11)]")
        process = HotProcess(scripted.pid)
        by_stat = process.read()
        monkeypatch.setattr(hot, "COUNTS_BY_STAT", False)
        by_list = process.read()
        process.close()
        assert by_stat
        assert by_list
        assert by_list.fds == by_stat.fds == len(os.listdir(f"/proc/{scripted.pid}/fd"))


def test_cpu_of_ended_threads_is_kept() -> None:
    with ScriptedProcess() as scripted:
        process = HotProcess(scripted.pid)
        used = scripted.run(
            "import threading\n"
            "import time\n"
            "def work():\n"
            "    sum(i * i for i in range(1_000_000)); used.append(time.thread_time())\n"
            "used = []; before = time.process_time(); t = threading.Thread(target=work)\n"
            "t.start(); t.join()\n"
            "answer = before + used[0]"
        )
        reading = process.read()
        process.close()
        assert reading
        assert reading.cpu >= float(str(used))


def test_a_zombie_counts_as_exited_and_not_as_recovered() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    tree = Tree(child.pid)
    before = tree.read(0.0)
    assert before.fds
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # exited, and still a zombie
    after = tree.read(1.0)
    assert after.gap == EXITED
    assert after.fds is None
    child.wait()
    assert tree.read(2.0).gap == EXITED
    tree.close()


def test_an_exiting_process_never_shows_its_emptied_table() -> None:
    """The kernel closes the descriptors a moment before it makes a zombie: no reading may show fewer
    than were open."""
    for _ in range(5):
        with ScriptedProcess() as scripted:
            scripted.run("import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4000, 4000))")
            scripted.run("kept += [os.open('/dev/null', 0) for _ in range(3000)]")
            process = HotProcess(scripted.pid, hold=True)
            first = process.read()
            assert first
            scripted.process.kill()
            seen = 0
            while (reading := process.read()) and not reading.zombie:
                assert reading.fds == first.fds
                assert reading.rss
                seen += 1
            process.close()


def test_a_process_whose_main_thread_exited_is_still_read() -> None:
    with ScriptedProcess() as scripted:
        scripted.run("import os; kept += [os.open('/dev/null', 0) for _ in range(20)]")
        process = HotProcess(scripted.pid)
        before = process.read()
        scripted.run(
            "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        )
        scripted.send("ctypes.CDLL(None).pthread_exit(None)")
        wait_for(lambda: state(scripted.pid) == "Z", "its main thread left")
        after = process.read()
        process.close()
        assert before
        assert after
        assert not after.zombie
        assert after.fds == before.fds
        assert after.rss


def reuse(pid: int, into: str) -> int | None:
    """Start a process that gets ``pid`` again; None when that is not possible here."""
    try:
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(pid - 1))
    except OSError:
        return None
    child = subprocess.Popen([sys.executable, "-c", into])
    if child.pid == pid:
        return pid
    child.kill()
    child.wait()
    return None


def asked_for() -> bool:
    """Whether this process may choose the pid of the next one."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    try:
        last.write_text(last.read_text())  # opening it is not enough: the kernel checks the right at write(2)
    except OSError:
        return False
    return True


def test_a_process_with_a_reused_pid_is_not_read_as_the_earlier_one() -> None:
    ends = time.monotonic() + DEADLINE
    while asked_for() and time.monotonic() < ends:
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        tree, held, bare = Tree(child.pid), HotProcess(child.pid, hold=True), HotProcess(child.pid)
        assert tree.read(0.0).fds
        child.kill()
        child.wait()
        again = reuse(child.pid, "import signal; signal.pause()")
        if again is None:
            tree.close()
            held.close()
            bare.close()
            continue
        try:
            assert os.stat(f"/proc/{child.pid}/fd").st_size  # another process has this pid
            assert held.read() is None
            assert bare.read() is None
            assert tree.read(1.0).gap == EXITED
        finally:
            tree.close()
            held.close()
            bare.close()
            os.kill(again, signal.SIGKILL)
            os.waitpid(again, 0)
        return
    assert not asked_for(), "no pid was had again"
    pytest.skip("a pid cannot be asked for here (CAP_CHECKPOINT_RESTORE)")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_what_another_user_may_read_is_read() -> None:
    """Everything of the hot lane is public on Linux >= 6.2; where it is not, it is None and not 0."""
    with ScriptedProcess() as scripted:
        code = (
            "from harness.probe import hot\n"
            "import os\n"
            f"os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            f"p = hot.HotProcess({scripted.pid}, hold=True)\n"
            "r = p.read(); print(r.fds, r.threads, r.rss > 0, r.stack)\n"
            "hot.COUNTS_BY_STAT = False\n"
            "print(p.read().fds)\n"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        public, listed = answer.stdout.splitlines()
        assert listed == "None"
        expected = len(os.listdir(f"/proc/{scripted.pid}/fd")) if hot.COUNTS_BY_STAT else None
        assert public == f"{expected} 1 True 0"


def test_no_such_process_is_one_clear_line() -> None:
    with pytest.raises(ProbeError, match="4194999: no such process"):
        Tree(4194999)
