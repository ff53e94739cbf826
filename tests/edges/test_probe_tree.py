"""Descendants are found when they start, followed until they exit, and each change is reported."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.core.sample import Sample
from harness.probe import births
from harness.probe.births import Births, descendants
from harness.probe.census import census
from harness.probe.hot import HotProcess
from harness.probe.tree import MAX_HELD, MAX_LISTED, Tree, _details
from harness.process.child import Child
from tests.edges.probe_target import ScriptedProcess, wait_for

SLEEPER = f"subprocess.Popen([{sys.executable!r}, '-c', 'import signal; signal.pause()'])"


# Starts nine threads on request, and prints when they run.
STARTS_THREADS = """
import threading
print(flush=True); input()
for _ in range(9): threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True); input()
"""


def sleeps(pid: int) -> bool:
    """Whether its main thread is in the pause that SLEEPER ends in."""
    return "pause" in Path(f"/proc/{pid}/wchan").read_text()


def until(tree: Tree, right: object, what: str) -> Sample:
    """Read until a sample is right."""
    found: list[Sample] = []

    def look() -> bool:
        found.append(tree.read(time.monotonic()))
        return bool(right(found[-1]))  # type: ignore[operator]

    wait_for(look, what)
    return found[-1]


def test_children_are_found_counted_and_reported() -> None:
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        alone = tree.read(0.0)
        assert alone.processes == 1
        assert alone.per_process == ()
        scripted.run(f"import subprocess; kept += [{SLEEPER} for _ in range(3)]")
        events: list[str] = []

        def all_four() -> bool:
            found.append(tree.read(1.0))
            events.extend(found[-1].events)
            return found[-1].processes == 4

        found: list[Sample] = []
        wait_for(all_four, "its three children are seen")
        sample = found[-1]
        pids = {child.pid for child in psutil.Process(scripted.pid).children()}
        assert {each.pid for each in sample.per_process} == {scripted.pid, *pids}
        assert {f"pid {pid} started" for pid in pids} <= set(events)

        def counted() -> int:
            return sum(psutil.Process(pid).num_fds() for pid in (scripted.pid, *pids))

        # An interpreter that starts opens and closes files: once they sleep, nothing moves.
        wait_for(lambda: all(sleeps(pid) for pid in pids), "they sleep")
        settled = tree.read(2.0)
        assert settled.fds == counted() == sum(each.fds or 0 for each in settled.per_process)
        scripted.run("[(child.kill(), child.wait()) for child in kept]")
        after = tree.read(3.0)
        assert after.processes == 1
        assert len([event for event in after.events if "exited" in event]) == 3
        assert after.cpu is not None
        assert settled.cpu is not None
        assert after.cpu >= settled.cpu  # CPU time of exited processes still counts
        tree.close()


def test_threads_are_never_taken_for_children() -> None:
    """/proc/TID exists, and says that its parent is the parent of its process."""
    with ScriptedProcess() as scripted:
        scripted.run(
            f"import subprocess\nchild = subprocess.Popen({[sys.executable, '-c', STARTS_THREADS]!r}, "
            "stdin=subprocess.PIPE, stdout=subprocess.PIPE)\nchild.stdout.readline()"
        )
        tree = Tree(scripted.pid)
        before = tree.read(0.0)
        assert (before.processes, before.threads) == (2, 2)
        scripted.run("child.stdin.write(b'.\\n'); child.stdin.flush(); child.stdout.readline()")
        for at in (1.0, 2.0):  # a number that is not taken at once is looked at once more
            sample = tree.read(at)
            assert (sample.processes, sample.threads) == (2, 11)
            assert not sample.events
        assert len(descendants(scripted.pid)) == 2
        tree.close()


def test_zombies_are_counted_apart() -> None:
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        tree.read(0.0)
        scripted.run("import os\nfor _ in range(4):\n    if os.fork() == 0: os._exit(0)")
        sample = until(tree, lambda s: s.zombies == 4, "four zombies")
        assert sample.processes == 1
        assert sample.fds == len(os.listdir(f"/proc/{scripted.pid}/fd"))
        scripted.run("import os\nfor _ in range(4): os.wait()")
        assert tree.read(1.0).zombies == 0
        tree.close()


def test_a_worker_that_is_replaced_shows_as_a_restart() -> None:
    """A pre-fork master ends a worker and starts another: the counts fall, and an event gives the reason."""
    with ScriptedProcess() as scripted:
        scripted.run(
            "import os, signal\n"
            "def worker(n):\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n"
            "        held = [os.open('/dev/null', 0) for _ in range(n)]\n"
            "        signal.pause()\n"
            "    return pid\n"
            "first = worker(500)"
        )
        tree = Tree(scripted.pid)
        before = until(tree, lambda s: (s.fds or 0) > 500, "the worker holds its descriptors")
        scripted.run("os.kill(first, 9); os.waitpid(first, 0); second = worker(0)")
        told_of: list[str] = []
        after = until(tree, lambda s: told_of.extend(s.events) or len(told_of) >= 2, "both changes")
        assert (after.fds or 0) < (before.fds or 0) - 400
        assert sorted(event.split()[-1] for event in told_of) == ["exited", "started"]
        tree.close()


def test_exec_is_reported_and_a_new_name_alone_is_not() -> None:
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        tree.read(0.0)
        scripted.run("open('/proc/self/comm', 'w').write('renamed')")
        assert tree.read(1.0).events == ()
        scripted.send("import os; os.execv('/bin/sleep', ['sleep', '60'])")
        sample = until(tree, lambda s: s.events, "the exec is seen")
        assert sample.events == (f"pid {scripted.pid} executed another program: renamed → sleep",)
        # As if that reading had found it half loaded, which the kernel shows for some microseconds: its stack changes.
        tree._last[scripted.pid] = replace(
            tree._last[scripted.pid], stack=tree._last[scripted.pid].stack + 64
        )
        assert tree.read(2.0).events == ()
        assert tree.read(3.0).events == ()
        tree.close()


def test_grandchildren_are_followed_after_their_parent_ends(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        tree.read(0.0)
        scripted.run(
            "import os, signal\n"
            "middle = os.fork()\n"
            "if middle == 0:\n"
            "    if os.fork() == 0:\n"
            f"        open({str(note)!r}, 'w').write(str(os.getpid()))\n"
            "        signal.pause()\n"
            "    signal.pause()\n"
        )
        until(tree, lambda s: s.processes == 3, "three generations")
        wait_for(lambda: note.exists() and note.read_text(), "the grandchild wrote its pid")
        scripted.run("os.kill(middle, 9); os.waitpid(middle, 0)")
        sample = tree.read(1.0)
        assert {each.pid for each in sample.per_process} == {scripted.pid, int(note.read_text())}
        # When the root exits, the remaining processes are named.
        scripted.process.kill()
        scripted.process.wait()
        gap = tree.read(2.0).gap
        assert gap is not None
        assert note.read_text() in gap
        os.kill(int(note.read_text()), signal.SIGKILL)
        tree.close()


def test_a_whole_scan_finds_what_the_short_way_finds() -> None:
    with ScriptedProcess() as scripted:
        short = Births()
        short.find({scripted.pid})
        scripted.run(f"import subprocess; kept += [{SLEEPER} for _ in range(5)]")
        whole = set(descendants(scripted.pid)) - {scripted.pid}
        found: set[int] = set()

        def look() -> bool:
            found.update(short.find({scripted.pid, *found}))
            return len(found) == 5

        wait_for(look, "five children")
        assert found == whole
        short.close()


@pytest.mark.parametrize("more", [0, 1, 400])
def test_in_a_large_tree_the_processes_with_most_descriptors_are_reported(more: int) -> None:
    process = HotProcess(os.getpid())
    reading = process.read()
    process.close()
    assert reading
    count = MAX_LISTED + more
    readings = [replace(reading, pid=pid, fds=None if pid == 3 else pid * 7 % count) for pid in range(count)]
    scripted = _details(readings)
    assert len(scripted) == MAX_LISTED
    assert scripted[0].pid == 0  # the root, though it has none
    left = {one.pid for one in readings} - {one.pid for one in scripted}
    least = min(one.fds for one in scripted[1:] if one.fds is not None)
    assert all((readings[pid].fds or 0) <= least for pid in left)
    assert len(left) == more


def test_a_process_that_detaches_itself_at_once_is_found_below_the_subreaper(tmp_path: Path) -> None:
    """``sh -c 'job &'``, as PHP's exec and many a script do it: its parent has exited before any reading."""
    go, done = tmp_path / "go", tmp_path / "done"
    script = f"until [ -e {go} ]; do sleep 0.02; done; sh -c 'sleep 60 &'; : > {done}; exec sleep 60"
    with Child.spawn(["sh", "-c", script], log=tmp_path / "log", name="service") as child:
        tree, blind = Tree(child.pid, adopter=child.supervisor_pid), Tree(child.pid)
        go.touch()
        wait_for(done.exists, "it has detached a job")
        found = until(tree, lambda sample: sample.processes == 2, "the job and the service")
        [job] = [each.pid for each in found.per_process if each.pid != child.pid]
        assert psutil.Process(job).ppid() == child.supervisor_pid
        assert census(child.pid, at=1.0, known=tree.processes(), newest=tree.newest).processes == 2
        assert until(blind, lambda sample: sample.processes == 1, "the service alone")
        os.kill(job, signal.SIGKILL)
        until(tree, lambda sample: sample.processes == 1, "the job has ended")
        tree.close()
        blind.close()


def test_more_processes_than_the_short_way_takes() -> None:
    """A burst beyond MAX_CANDIDATES is caught by a scan."""
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        tree.read(0.0)
        count = births.MAX_CANDIDATES + 10
        scripted.run(
            f"import os, signal\nfor _ in range({count}):\n    if os.fork() == 0:\n        signal.pause()\n"
        )
        own = len(os.listdir("/proc/self/fd"))
        sample = until(tree, lambda s: s.processes == count + 1, "all of them")
        assert len(sample.per_process) == count + 1
        assert len(sample.events) <= 20
        # Beyond MAX_HELD their files are not kept open.
        most = 4 * MAX_HELD + (count - MAX_HELD)
        assert len(os.listdir("/proc/self/fd")) - own < most + 5
        tree.close()
