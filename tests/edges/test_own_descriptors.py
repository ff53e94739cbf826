"""The harness has no descriptor, thread or child of its own once a reading is over, however it ended."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import ProbeError, TargetError
from harness.core.sample import Sample
from harness.probe import descriptors as descriptors_module
from harness.probe import hot, sockdiag
from harness.probe import sockets as sockets_module
from harness.probe.births import descendants
from harness.probe.census import census
from harness.probe.hot import HotProcess
from harness.probe.limits import cgroup_limits, limits
from harness.probe.sampler import Sampler
from harness.probe.sockets import inbound
from harness.probe.tree import Tree
from harness.process.child import Child
from harness.store.lines import LineFile
from harness.store.run_dir import RunDirectory
from harness.store.write import replace_file
from harness.testing import no_leaks
from tests.edges.probe_target import ScriptedProcess, state, wait_for

GONE = 4194999  # above the largest pid of Linux
ME = os.getpid()
STARTS_A_CHILD = (
    f"import subprocess; kept.append(subprocess.Popen([{sys.executable!r}, '-c', 'input()'], stdin=-1))"
)
ROUNDS = 3  # a close that is forgotten costs one descriptor in each


def refused(*_: object) -> object:
    raise PermissionError(1, "Operation not permitted")


def held() -> dict[str, str]:
    """Descriptor number → what it points to, without the one that reads them."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
    return found


def one_tree(pid: int) -> None:
    tree = Tree(pid)
    try:
        tree.read(0.0)
        tree.read(0.1)
    finally:
        tree.close()
        tree.close()


def no_tree() -> None:
    with pytest.raises(ProbeError):
        Tree(GONE)


def one_process(*, hold: bool) -> None:
    process = HotProcess(ME, hold=hold)
    process.read()
    process.close()
    process.close()


def one_sampler() -> None:
    with Sampler(ME, clock=time.monotonic, interval=0.01) as sampler:
        sampler.census(0.0)
        sampler.inbound(1)
        sampler.limits()
        sampler.samples()


READINGS: dict[str, Callable[[], object]] = {
    "census": lambda: census(ME, at=0.0),
    "census of a process that is gone": lambda: census(GONE, at=0.0),
    "census with a pid that was reused": lambda: census(ME, at=0.0, known={1: -1, GONE: 5}),
    "tree": lambda: one_tree(ME),
    "tree of a process that is gone": no_tree,
    "hot process": lambda: one_process(hold=False),
    "hot process that keeps its files": lambda: one_process(hold=True),
    "sampler": one_sampler,
    "descendants": lambda: descendants(ME),
    "clients of a port": lambda: inbound(ME, 1),
    "clients of a port, of a process that is gone": lambda: inbound(GONE, 1),
    "limits": lambda: (limits(ME), limits(GONE), cgroup_limits(ME)),
}


@pytest.mark.parametrize("what", READINGS)
def test_a_reading_gives_every_descriptor_back(what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM), no_leaks():
        READINGS[what]()  # imports what it needs
        before = held()
        for _ in range(ROUNDS):
            READINGS[what]()
        assert held() == before


@pytest.mark.parametrize("what", ["census", "clients of a port"])
def test_a_reading_without_access_to_the_network_namespace_gives_every_descriptor_back(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets_module, "open_diag_in", refused)
    test_a_reading_gives_every_descriptor_back(what)


def test_a_reading_without_permission_to_list_descriptors_gives_every_descriptor_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(descriptors_module, "links", refused)
    assert any("only their number is known" in reason for reason in census(ME, at=0.0).unreadable)
    test_a_reading_gives_every_descriptor_back("census")


def test_a_reading_on_a_kernel_that_does_not_count_descriptors_gives_every_descriptor_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hot, "COUNTS_BY_STAT", False)
    test_a_reading_gives_every_descriptor_back("tree")


def test_a_reading_of_a_process_whose_main_thread_exited_gives_every_descriptor_back() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(
            "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        )
        scripted.send("ctypes.CDLL(None).pthread_exit(None)")
        wait_for(lambda: state(scripted.pid) == "Z", "its main thread left")
        one_tree(scripted.pid)
        before = held()
        one_tree(scripted.pid)
        assert census(scripted.pid, at=0.0).processes == 1
        assert held() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to enter a network namespace")
def test_a_reading_of_another_network_namespace_gives_every_descriptor_back() -> None:
    with ScriptedProcess(prefix=["unshare", "--net"]) as scripted:
        assert inbound(scripted.pid, 1) == 0
        before = held()
        assert inbound(scripted.pid, 1) == 0
        assert held() == before


@pytest.mark.parametrize("reading", [None, OSError(5, "Input/output error")])
def test_a_tree_that_cannot_be_read_keeps_nothing(reading: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: HotProcess) -> None:
        if isinstance(reading, OSError):
            raise reading

    monkeypatch.setattr(HotProcess, "read", read)
    before = held()
    with pytest.raises(ProbeError):
        Tree(ME)
    assert held() == before


def test_a_socket_that_cannot_be_bound_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Unbindable(socket.socket):
        def bind(self, address: object) -> None:
            made.append(self)
            raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", Unbindable)
    with pytest.raises(OSError, match="not permitted"):
        sockdiag.open_diag()
    assert [one.fileno() for one in made] == [-1]


def test_a_tree_closes_the_descriptors_of_children_that_exited() -> None:
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        try:
            tree.read(0.0)
            before = len(held())
            for at in range(ROUNDS):
                scripted.run(STARTS_A_CHILD)
                # On a busy machine, which starts many processes, not every reading scans all of them.
                wait_for(lambda at=at: tree.read(at).processes == 2, "the child is found")
                assert len(held()) > before
                scripted.run("child = kept.pop(); child.communicate()")
                assert tree.read(at + 0.5).processes == 1
                assert len(held()) == before
        finally:
            tree.close()


def test_a_run_folder_and_its_files_are_closed(tmp_path: Path) -> None:
    with no_leaks():
        before = held()
        with RunDirectory.create(tmp_path / "run", "run") as directory, directory.samples("one") as writer:
            writer.write(Sample(1.0, fds=3))
        LineFile(tmp_path / "lines").close()
        replace_file(tmp_path / "file", b"x")
        replace_file(Path("/dev/null"), b"x")
        assert held() == before


def test_a_child_leaves_no_descriptor_and_no_zombie(tmp_path: Path) -> None:
    with no_leaks():
        before = held()
        for _ in range(ROUNDS):
            stays = [sys.executable, "-c", "import time; time.sleep(60)"]
            with Child.spawn(stays, log=tmp_path / "log", name="child") as child:
                assert child.alive
            with pytest.raises(TargetError):
                Child.spawn([str(tmp_path / "nowhere")], log=tmp_path / "log", name="child")
        assert held() == before


# -- what is not known is not a number


def test_a_sum_without_one_of_its_parts_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedProcess() as scripted:
        scripted.run(STARTS_A_CHILD)
        tree = Tree(scripted.pid)
        try:
            whole = tree.read(0.0)
            assert whole.processes == 2
            parts = whole.per_process
            assert whole.fds == sum(part.fds or 0 for part in parts)
            assert whole.threads == sum(part.threads or 0 for part in parts) == 2
            child = tree._known[parts[1].pid]
            real = child.read
            for name in ("fds", "threads", "rss", "switches"):
                monkeypatch.setattr(child, "read", lambda name=name: replace(real(), **{name: None}))  # type: ignore[type-var]
                partial = tree.read(1.0)
                assert getattr(partial, name) is None
                others = {"fds", "threads", "rss", "switches"} - {name}
                assert all(getattr(partial, other) is not None for other in others)
                assert partial.processes == 2
        finally:
            tree.close()


@pytest.mark.parametrize(
    ("denied", "missing"),
    [
        ("maps", {"mappings"}),
        ("smaps_rollup", {"uss"}),
        ("smaps_rollup status", {"uss", "anonymous", "rss"}),
    ],
)
def test_a_census_of_two_processes_gives_no_sum_of_one(
    denied: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.probe import memory

    read = memory._read_all
    with ScriptedProcess() as scripted:
        scripted.run(STARTS_A_CHILD)

        def some(process: HotProcess, name: str) -> bytes:
            if process.pid != scripted.pid and name in denied.split():
                raise PermissionError(13, "Permission denied")
            return read(process, name)

        whole = census(scripted.pid, at=0.0)
        assert (whole.processes, whole.unreadable) == (2, ())
        assert whole.mappings
        assert set(whole.memory) == {"anonymous", "rss", "uss"}
        assert len(whole.per_process) == 2
        monkeypatch.setattr(memory, "_read_all", some)
        found = census(scripted.pid, at=0.0)
    assert found.processes == 2
    assert (found.mappings == {}) is ("mappings" in missing)
    assert set(found.memory) == {"anonymous", "rss", "uss"} - missing
    assert len(found.unreadable) == 1
    assert "Permission denied" in found.unreadable[0]


def test_a_census_without_the_descriptors_of_one_process_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    read, classify = HotProcess.read, descriptors_module._classify
    with ScriptedProcess() as scripted:
        scripted.run(STARTS_A_CHILD)

        def hidden(process: HotProcess) -> hot.HotReading | None:
            reading = read(process)
            return reading if process.pid == scripted.pid or reading is None else replace(reading, fds=None)

        def denied(process: HotProcess, tally: descriptors_module.Tally) -> descriptors_module.HeldSockets:
            if process.pid != scripted.pid:
                raise PermissionError(13, "Permission denied")
            return classify(process, tally)

        monkeypatch.setattr(HotProcess, "read", hidden)
        monkeypatch.setattr(descriptors_module, "_classify", denied)
        found = census(scripted.pid, at=0.0)
    assert (found.fds, found.per_process, found.processes) == ({}, {}, 2)
    assert [reason.split(" of pid ")[0] for reason in found.unreadable] == ["fds"]


def test_a_process_that_has_the_pid_of_an_earlier_one_is_left_out() -> None:
    """An orphan of the tree is known by its pid and its start time alone."""
    with ScriptedProcess() as scripted, ScriptedProcess() as orphan:
        known = {each: start_of(each) for each in (scripted.pid, orphan.pid)}
        both = census(scripted.pid, at=0.0, known=known)
        assert set(both.per_process) == {str(scripted.pid), str(orphan.pid)}
        for other in (-1, 1):
            alone = census(scripted.pid, at=0.0, known={**known, orphan.pid: known[orphan.pid] + other})
            assert set(alone.per_process) == {str(scripted.pid)}
            assert alone.processes == 1


def start_of(pid: int) -> int:
    """Clock ticks since boot."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
