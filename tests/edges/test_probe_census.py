"""A real process holds descriptors of each class, and the census finds them by name, with an example."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.core.census_diff import difference, levels
from harness.core.metric import Key
from harness.core.sample import Census
from harness.probe import sockets as sockets_module
from harness.probe.census import census
from harness.probe.hot import HotProcess
from harness.probe.lines import census_line, census_of
from harness.probe.links import links
from harness.probe.sockets import inbound
from harness.probe.tree import Tree
from tests.edges.probe_target import ScriptedProcess, asleep, state, wait_for

CTYPES = "import ctypes; libc = ctypes.CDLL(None); "
PAIRS = """
import socket
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(64)
port = listener.getsockname()[1]
def pair():
    client = socket.create_connection(("127.0.0.1", port))
    return client, listener.accept()[0]
"""

# Sockets that only root may open, or CAP_NET_RAW.
PRIVILEGED = """
import socket
try: kept += [socket.socket({}) for _ in range(5)]
except PermissionError: kept.append(-1)
"""
PRIVILEGED_ERROR = "except PermissionError"

# class → (how to hold five of them, what an example says)
HELD = {
    "file": ("import tempfile; kept += [tempfile.NamedTemporaryFile() for _ in range(5)]", "/tmp"),
    "deleted-file": ("import tempfile; kept += [tempfile.TemporaryFile() for _ in range(5)]", "(deleted)"),
    "directory": ("import os; kept += [os.open('/usr', os.O_RDONLY) for _ in range(5)]", "/usr"),
    "device": ("import os; kept += [os.open('/dev/zero', os.O_RDONLY) for _ in range(5)]", "/dev/zero"),
    "pipe": ("import os; kept += [*os.pipe(), *os.pipe(), *os.pipe()]; os.close(kept.pop())", "pipe:["),
    "eventfd": (CTYPES + "kept += [libc.eventfd(0, 0) for _ in range(5)]", "eventfd"),
    "eventpoll": ("import select; kept += [select.epoll() for _ in range(5)]", "eventpoll"),
    "timerfd": (CTYPES + "kept += [libc.timerfd_create(1, 0) for _ in range(5)]", "timerfd"),
    "signalfd": (CTYPES + "kept += [libc.signalfd(-1, bytes(128), 0) for _ in range(5)]", "signalfd"),
    "inotify": (CTYPES + "kept += [libc.inotify_init1(0) for _ in range(5)]", "inotify"),
    "pidfd": ("import os; kept += [os.pidfd_open(os.getpid()) for _ in range(5)]", "pidfd"),
    "memfd": ("import os; kept += [os.memfd_create('buffer') for _ in range(5)]", "/memfd:buffer"),
    "io_uring": (CTYPES + "kept += [libc.syscall(425, 8, bytes(120)) for _ in range(5)]", "io_uring"),
    "namespace": ("import os; kept += [os.open('/proc/self/ns/net', 0) for _ in range(5)]", "net:["),
    "unix": (
        "import socket; kept += [*socket.socketpair(), *socket.socketpair(), socket.socket(socket.AF_UNIX)]",
        "unix without a name",
    ),
    "udp": (
        "import socket\n"
        "for family, host in 3 * [(socket.AF_INET, '127.0.0.1')] + 2 * [(socket.AF_INET6, '::1')]:\n"
        "    kept.append(socket.socket(family, socket.SOCK_DGRAM)); kept[-1].bind((host, 0))",
        ":0",
    ),
    "netlink": (
        "import socket; kept += [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) for _ in range(5)]",
        "netlink",
    ),
    "packet": (PRIVILEGED.format("socket.AF_PACKET, socket.SOCK_RAW"), "packet"),
    "raw": (PRIVILEGED.format("socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP"), "0.0.0.0:0"),
    "tcp-listen": (
        "import socket\n"
        "for family, host in 3 * [(socket.AF_INET, '127.0.0.1')] + 2 * [(socket.AF_INET6, '::1')]:\n"
        "    kept.append(socket.socket(family)); kept[-1].bind((host, 0)); kept[-1].listen(1)",
        "listens on port ",
    ),
    "rowless-socket": (
        "import socket; kept += [socket.socket() for _ in range(3)]\n"
        "kept.append(socket.socket()); kept[-1].bind(('127.0.0.1', 0))\n"
        "kept.append(socket.socket(type=socket.SOCK_DGRAM))",
        "TCP: never connected",
    ),
}


@pytest.mark.parametrize("kind", HELD)
def test_each_class_is_known(kind: str) -> None:
    code, example = HELD[kind]
    with ScriptedProcess() as scripted:
        before = census(scripted.pid, at=0.0)
        scripted.run(code)
        if scripted.run("answer = any(isinstance(held, int) and held < 0 for held in kept)"):
            if PRIVILEGED_ERROR in code and os.geteuid() != 0:
                pytest.skip(f"needs root for a {kind} socket")
            pytest.skip(f"no {kind} to be had: this kernel lacks it, or this user may not")
        after = census(scripted.pid, at=1.0)
        grown = [growth for growth in difference(before, after) if growth.key.metric == "fds"]
        assert {growth.key.kind: growth.by for growth in grown} == {kind: 5.0}
        assert any(example in each for each in grown[0].examples), grown[0].examples
        assert levels(after)[Key("fds")] == psutil.Process(scripted.pid).num_fds()


def test_connections_by_direction_port_and_state() -> None:
    with ScriptedProcess() as scripted, ScriptedProcess() as other:
        other.run(PAIRS)
        there = other.run("answer = port")
        scripted.run(PAIRS)
        here = scripted.run("answer = port")
        # Three are inbound from the other process, two are outbound to it; the peer has closed one of each.
        other.run(
            f"import socket; kept += [socket.create_connection(('127.0.0.1', {here})) for _ in range(3)]"
        )
        scripted.run("kept += [listener.accept()[0] for _ in range(3)]")
        scripted.run(f"kept += [socket.create_connection(('127.0.0.1', {there})) for _ in range(2)]")
        other.run("kept += [listener.accept()[0] for _ in range(2)]")
        full = census(scripted.pid, at=0.0)
        assert full.fds["tcp-in"] == 3
        assert full.fds[f"tcp-out:{there}"] == 2
        assert full.fds["tcp-listen"] == 1
        assert full.sockets == {"listen": 1, "established": 5}
        assert full.examples[f"tcp-out:{there}"][0] == f"127.0.0.1:{there}"
        assert inbound(scripted.pid, int(str(here))) == 3
        other.run("kept[0].close(); kept[-1].close()")
        wait_for(lambda: census(scripted.pid, at=0.0).fds.get("close-wait") == 2, "two peers left")
        left = census(scripted.pid, at=1.0)
        assert left.fds["tcp-in"] == 2
        assert left.fds[f"tcp-out:{there}"] == 1
        assert left.sockets["close-wait"] == 2
        assert inbound(scripted.pid, int(str(here))) == 2


def test_shut_down_but_not_closed_has_no_row() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS)
        before = census(scripted.pid, at=0.0)
        scripted.run("kept += [pair() for _ in range(4)]")
        scripted.run(
            "for client, served in kept:\n"
            "    client.shutdown(socket.SHUT_WR); served.shutdown(socket.SHUT_WR)\n"
            "    client.close()"
        )
        wait_for(lambda: census(scripted.pid, at=1.0).fds.get("rowless-socket") == 4, "four without a row")
        after = census(scripted.pid, at=1.0)
        assert {growth.key.kind for growth in difference(before, after) if growth.key.metric == "fds"} == {
            "rowless-socket"
        }


NASTY = """
import ctypes, os, socket, tempfile
ctypes.CDLL(None).prctl(15, b"x) Z\\n1 \\x1b[2J", 0, 0, 0)
folder = tempfile.mkdtemp()
kept += [open(folder + "/a\\nb\\x1b[31m%d" % number, "w") for number in range(3)]
kept.append(open(os.fsencode(folder) + b"/\\xff", "w"))
for name in (folder + "/so\\nck", folder + "/x\\n1 2 3 4 5 6", "\\0abstract\\n0: 1 2"):
    kept.append(socket.socket(socket.AF_UNIX)); kept[-1].bind(name)
"""


def test_a_file_that_only_is_called_deleted_is_not() -> None:
    with ScriptedProcess() as scripted:
        before = census(scripted.pid, at=0.0)
        scripted.run(
            "import os, tempfile; folder = tempfile.mkdtemp()\n"
            "kept += [open(folder + '/' + name, 'w') for name in ('a (deleted)', 'b', 'c', 'd')]\n"
            "os.unlink(folder + '/b'); os.rename(folder + '/d', folder + '/c')"
        )
        grown = difference(before, census(scripted.pid, at=1.0))
        # b is gone, c was replaced; a and d have a name.
        assert {growth.key.kind: growth.by for growth in grown if growth.key.metric == "fds"} == {
            "file": 2.0,
            "deleted-file": 2.0,
        }


def test_hostile_names_of_threads_files_and_sockets_break_no_reading() -> None:
    """Line ends and escapes in the names of threads, files and sockets, its own and another process's."""
    with ScriptedProcess() as scripted, ScriptedProcess() as other:
        before = census(scripted.pid, at=0.0), census(other.pid, at=0.0)
        scripted.run(NASTY)
        other.run("import socket; kept += [socket.socket(), *socket.socketpair()]")
        after = census(scripted.pid, at=1.0)
        grown = {
            growth.key.kind: growth.by
            for growth in difference(before[0], after)
            if growth.key.metric == "fds"
        }
        assert grown == {"file": 4.0, "unix": 3.0}
        assert "\n" not in census_line(after)
        assert census_of(json.loads(census_line(after))["census"], 1.0) == after
        apart = difference(before[1], census(other.pid, at=1.0))
        assert {growth.key.kind: growth.by for growth in apart if growth.key.metric == "fds"} == {
            "rowless-socket": 1.0,
            "unix": 2.0,
        }
        tree = Tree(scripted.pid)
        assert tree.read(0.0).fds == sum(after.fds.values())
        tree.close()


def test_ipv6_is_counted_too() -> None:
    code = PAIRS.replace("socket.socket()", "socket.socket(socket.AF_INET6)").replace("127.0.0.1", "::1")
    with ScriptedProcess() as scripted:
        scripted.run(code + "kept += [pair() for _ in range(6)]")
        port = int(str(scripted.run("answer = port")))
        taken = census(scripted.pid, at=0.0)
        assert taken.fds["tcp-in"] == taken.fds[f"tcp-out:{port}"] == 6
        assert taken.examples[f"tcp-out:{port}"] == (f"[::1]:{port}",)
        assert inbound(scripted.pid, port) == 6


def test_an_accepted_connection_stays_inbound_after_its_listener_is_closed() -> None:
    ports = iter(range(20000, 20100))
    with ScriptedProcess() as scripted:
        for port in ports:
            code = PAIRS.replace('("127.0.0.1", 0)', f'("127.0.0.1", {port})')
            try:
                scripted.run(code.replace("listener.bind", "listener.setsockopt(1, 2, 1); listener.bind"))
                break
            except AssertionError:
                continue
        scripted.run("kept += [pair() for _ in range(3)]; listener.close()")
        taken = census(scripted.pid, at=0.0)
        assert taken.fds["tcp-in"] == 3
        assert taken.fds[f"tcp-out:{port}"] == 3


def test_text_tables_give_the_same_rows_as_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS + "kept += [pair() for _ in range(20)]")
        scripted.run("[client.close() for client, served in kept[:5]]")
        for kind in ("udp", "tcp-listen", "rowless-socket", "unix", "netlink"):
            scripted.run(HELD[kind][0])
        port = int(str(scripted.run("answer = port")))
        wait_for(lambda: census(scripted.pid, at=0.0).fds.get("close-wait") == 5, "five left")
        by_diag, inbound_by_diag = census(scripted.pid, at=0.0), inbound(scripted.pid, port)

        def refuse(directory: int) -> None:
            raise PermissionError("not in this namespace")

        monkeypatch.setattr(sockets_module, "open_diag_in", refuse)
        by_text = census(scripted.pid, at=0.0)
        assert by_text.fds == by_diag.fds
        assert by_text.sockets == by_diag.sockets
        assert {kind: by_text.examples[kind] for kind in by_text.fds} == {
            kind: by_diag.examples[kind] for kind in by_diag.fds
        }
        assert inbound(scripted.pid, port) == inbound_by_diag == 15


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace")
@pytest.mark.parametrize("way", ["sock_diag", "text"])
def test_a_target_in_another_network_namespace(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil reads its own namespace and finds nothing."""
    if way == "text":

        def refuse(directory: int) -> None:
            raise PermissionError("no right to enter")

        monkeypatch.setattr(sockets_module, "open_diag_in", refuse)
    with ScriptedProcess(prefix=["unshare", "--net"]) as scripted:
        scripted.run("import subprocess; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)")
        scripted.run(PAIRS + "kept += [pair() for _ in range(7)]")
        port = int(str(scripted.run("answer = port")))
        taken = census(scripted.pid, at=0.0)
        assert taken.fds["tcp-in"] == taken.fds[f"tcp-out:{port}"] == 7
        assert "rowless-socket" not in taken.fds
        assert inbound(scripted.pid, port) == 7
        assert inbound(os.getpid(), port) == 0
        # The thread that entered has exited; this process is still in its own namespace.
        assert os.stat("/proc/self/ns/net").st_ino != os.stat(f"/proc/{scripted.pid}/ns/net").st_ino


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace")
def test_a_child_in_another_network_namespace_than_its_parent() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS + "kept += [pair() for _ in range(2)]")
        scripted.run(
            "import os, signal, subprocess\n"
            "if os.fork() == 0:\n"
            "    [s.close() for pair in kept for s in pair]; listener.close()\n"
            "    libc = __import__('ctypes').CDLL(None); libc.unshare(0x40000000)\n"
            "    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
            f"    exec({PAIRS!r}); own = [pair() for _ in range(3)]; signal.pause()\n"
        )
        wait_for(lambda: census(scripted.pid, at=0.0).fds.get("tcp-in") == 5, "both see their own")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_without_permission_nothing_is_a_zero() -> None:
    """Another user's process: its number of descriptors, threads and memory are public, the rest is named."""
    with ScriptedProcess() as scripted:
        scripted.run("import os; kept += [os.open('/dev/null', 0) for _ in range(9)]")
        code = (
            "import os, json, dataclasses\n"
            "from harness.probe.census import census\n"
            "from harness.probe import hot\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            f"print(json.dumps(dataclasses.asdict(census({scripted.pid}, at=0.0))))\n"
            "hot.COUNTS_BY_STAT = False\n"
            f"print(json.dumps(dataclasses.asdict(census({scripted.pid}, at=0.0))))\n"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        public, old_kernel = (Census(**eval(line, {"null": None})) for line in answer.stdout.splitlines())
        full = census(scripted.pid, at=0.0)
    assert public.fds == {"unclassified": sum(full.fds.values())}
    assert public.threads == full.threads
    assert public.mappings == {}
    assert set(public.memory) == {"anonymous", "rss"}
    assert public.memory["anonymous"] == pytest.approx(full.memory["anonymous"], rel=0.1)
    reasons = " | ".join(public.unreadable)
    for what in ("descriptor classes of pid", "mappings of pid", "uss of pid", "Permission denied"):
        assert what in reasons
    found = levels(public)
    assert found[Key("fds")] == sum(full.fds.values())
    assert Key("mappings") not in found
    assert Key("memory", "uss") not in found
    assert old_kernel.fds == {}
    assert Key("fds") not in levels(old_kernel)
    # And the difference between a full and a poor census invents no growth.
    assert [growth for growth in difference(public, full) if growth.key.metric != "memory"] == []
    assert [growth for growth in difference(full, public) if growth.key.metric != "memory"] == []


def test_threads_by_name_and_where_they_wait() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(
            "import threading\n"
            "def work(name):\n"
            "    open('/proc/thread-self/comm', 'w').write(name); stop.wait()\n"
            "stop = threading.Event()\n"
            "for n in range(12): threading.Thread(target=work, args=(f'pool-1-w-{n}',)).start()"
        )
        wait_for(lambda: census(scripted.pid, at=0.0).threads.get("pool-#-w-#") == 12, "named")
        wait_for(lambda: asleep(scripted.pid), "each has gone to sleep, which is a switch")
        taken = census(scripted.pid, at=0.0)
        assert sum(taken.threads.values()) == 13
        assert any("waits in futex" in text or "tid" in text for text in taken.examples["threads/pool-#-w-#"])
        assert taken.switches is not None
        assert taken.switches > 12
        scripted.run("stop.set()")


def test_mappings_by_kind_and_memory_as_the_kernel_counts() -> None:
    with ScriptedProcess() as scripted:
        before = census(scripted.pid, at=0.0)
        # Every second page with another protection: or the kernel makes one mapping of neighbours.
        scripted.run("import mmap; kept += [mmap.mmap(-1, 4096, prot=1 + n % 2 * 2) for n in range(50)]")
        scripted.run("kept.append(mmap.mmap(-1, 8 << 20)); kept[-1].write(bytes(8 << 20))")
        after = census(scripted.pid, at=1.0)
        lines = len(Path(f"/proc/{scripted.pid}/maps").read_text().splitlines())
        assert sum(after.mappings.values()) == lines == levels(after)[Key("mappings")]
        other = psutil.Process(scripted.pid).memory_full_info()
        assert after.memory["uss"] == pytest.approx(other.uss, rel=0.02)
        assert after.memory["rss"] == pytest.approx(other.rss, rel=0.02)
        assert after.memory["uss"] - before.memory["uss"] >= 8 << 20


def test_children_orphans_and_zombies_are_in_the_census(tmp_path: Path) -> None:
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        tree.read(0.0)
        scripted.run(
            "import os, signal\n"
            "ready, say = os.pipe()\n"
            "middle = os.fork()\n"
            "if middle == 0:\n"
            "    if os.fork() == 0:\n"
            "        held = [os.open('/dev/zero', 0) for _ in range(6)]; os.write(say, b'.'); signal.pause()\n"
            "    signal.pause()\n"
            "if os.fork() == 0: os._exit(0)\n"
            "os.read(ready, 1)"
        )

        def known() -> tuple[int | None, int | None]:
            sample = tree.read(1.0)
            return sample.processes, sample.zombies

        wait_for(lambda: known() == (3, 1), "the tree knows all of them")
        full = census(scripted.pid, at=1.0)
        assert (full.processes, full.zombies) == (3, 1)
        assert "(python" in full.examples["processes/zombie"][0]
        scripted.run("os.kill(middle, 9); os.waitpid(middle, 0)")
        wait_for(lambda: tree.read(2.0).processes == 2, "the middle one ended")
        assert census(scripted.pid, at=2.0).processes == 1  # its parent is gone: out of sight
        kept = census(scripted.pid, at=2.0, known=tree.processes())
        assert kept.processes == 2
        assert kept.fds["device"] >= 6
        tree.close()


@pytest.mark.parametrize("others", [0, 100], ids=["few", "more than are looked at one by one"])
def test_a_child_born_after_the_last_sample_is_in_the_census(others: int) -> None:
    with ScriptedProcess() as scripted:
        tree = Tree(scripted.pid)
        tree.read(0.0)
        scripted.run(
            "import os, signal\n"
            f"for _ in range({others}):\n"
            "    if os.fork() == 0: os._exit(0)\n"
            "    os.wait()\n"
            "ready, say = os.pipe()\n"
            "if os.fork() == 0:\n"
            "    held = [os.open('/dev/zero', 0) for _ in range(6)]; os.write(say, b'.'); signal.pause()\n"
            "os.read(ready, 1)"
        )
        taken = census(scripted.pid, at=0.0, known=tree.processes(), newest=tree.newest)
        assert taken.processes == 2
        assert taken.fds["device"] >= 6
        assert list(tree.processes()) == [scripted.pid]  # the tree itself has not looked since
        tree.close()


def test_a_process_that_has_ended_has_no_census() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = census(child.pid, at=0.0)
    child.wait()
    for taken in (zombie, census(child.pid, at=1.0)):
        assert levels(taken) == {}
        assert "has exited" in taken.unreadable[0]


@pytest.mark.parametrize("stage", ["read", "descriptors", "mappings", "memory", "threads"])
def test_a_child_may_be_reaped_at_any_moment_of_a_census(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening ``task`` in the folder of a process that has been reaped ended the run of a service with short-lived
    children."""
    module = sys.modules["harness.probe.census"]
    whole = HotProcess.read if stage == "read" else getattr(module, stage)
    with ScriptedProcess() as scripted:
        scripted.run("import subprocess; child = subprocess.Popen(['sleep', '60'])")

        def reaped_first(*args: Any) -> Any:
            if stage == "descriptors" or args[0].pid != scripted.pid:
                scripted.run("child.kill(); child.wait()")
            return whole(*args)

        if stage == "read":
            monkeypatch.setattr(HotProcess, "read", reaped_first)
        else:
            monkeypatch.setattr(module, stage, reaped_first)
        taken = census(scripted.pid, at=1.0)
        monkeypatch.undo()
        after = census(scripted.pid, at=2.0)
    assert taken.unreadable == ()
    assert taken.processes == (1 if stage == "read" else 2)
    assert taken.threads == after.threads
    assert taken.fds == after.fds or stage not in ("read", "descriptors")


def test_a_main_thread_that_is_reaped_with_its_process_has_no_living_one() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = HotProcess(child.pid)
    try:
        child.kill()
        child.wait()
        assert process._living_task() == ""
    finally:
        process.close()


def test_tables_are_found_after_the_main_thread_exited() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(HELD["eventfd"][0] + "; " + HELD["rowless-socket"][0])
        before = census(scripted.pid, at=0.0)
        scripted.run("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()")
        scripted.send("libc.pthread_exit(None)")
        wait_for(lambda: state(scripted.pid) == "Z", "its main thread left")
        after = census(scripted.pid, at=1.0)
        assert after.fds == before.fds
        assert after.memory["anonymous"] > 0


def test_psutil_agrees_on_a_busy_mixture() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS + "kept += [pair() for _ in range(30)]; [c.close() for c, s in kept[:10]]")
        for code, _ in HELD.values():
            scripted.run(code)
        wait_for(lambda: census(scripted.pid, at=0.0).fds.get("close-wait") == 10, "ten left")
        taken, other = census(scripted.pid, at=0.0), psutil.Process(scripted.pid)
        states = Counter(c.status for c in other.net_connections("tcp"))
        assert taken.sockets["close-wait"] == states["CLOSE_WAIT"]
        assert taken.sockets["established"] == states["ESTABLISHED"]
        assert taken.sockets["listen"] == states["LISTEN"]
        assert taken.fds["file"] + taken.fds["deleted-file"] >= len(other.open_files())


def test_a_closed_listener_on_a_high_port_makes_no_class_per_client() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(PAIRS + "kept += [pair() for _ in range(30)]; listener.close()")
        port = int(str(scripted.run("answer = port")))
        taken = census(scripted.pid, at=0.0)
        assert taken.fds["tcp-in"] == taken.fds[f"tcp-out:{port}"] == 30


def test_outbound_classes_are_bounded_and_none_is_lost() -> None:
    with ScriptedProcess() as scripted, ScriptedProcess() as other:
        other.run(
            "import socket; kept += [socket.create_server(('127.0.0.1', 0)) for _ in range(90)]\n"
            "answer = [one.getsockname()[1] for one in kept]"
        )
        ports = other.run("answer = [one.getsockname()[1] for one in kept]")
        scripted.run(f"import socket; kept += [socket.create_connection(('127.0.0.1', p)) for p in {ports}]")
        taken = census(scripted.pid, at=0.0)
        outbound = {kind: count for kind, count in taken.fds.items() if kind.startswith("tcp-out")}
        assert sum(outbound.values()) == 90
        assert len(outbound) == 65
        assert outbound["tcp-out:other"] == 26


@pytest.mark.parametrize("free", [(), (3, 40, 41), range(10, 200, 2)], ids=["dense", "few free", "many free"])
@pytest.mark.parametrize("high", [(), (700, 701)], ids=["", "far above"])
def test_every_descriptor_is_met_whatever_numbers_are_free(
    free: tuple[int, ...], high: tuple[int, ...]
) -> None:
    code = f"""
import os
kept += [os.open("/usr", os.O_RDONLY) for _ in range(300)]
for number in {list(high)}: os.dup2(kept[-1], number)
for number in {list(free)}: os.close(number)
"""
    with ScriptedProcess() as target:
        target.run(code)
        directory = os.open(f"/proc/{target.pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
        try:
            names, found = links(directory)
            listed = sorted(map(int, os.listdir(directory)), reverse=True)
            assert list(map(int, names)) == listed
            assert found == [os.readlink(name, dir_fd=directory) for name in names]
        finally:
            os.close(directory)


def test_the_descriptors_of_each_process_are_reported_also_over_a_line() -> None:
    with ScriptedProcess() as scripted:
        scripted.run(
            "import os, signal\n"
            "kept += [os.open('/usr', os.O_RDONLY) for _ in range(40)]\n"
            "for more in (5, 60):\n"
            "    pid = os.fork()\n"
            "    if not pid:\n"
            "        held = [os.open('/usr', os.O_RDONLY) for _ in range(more)]\n"
            "        signal.pause()\n"
            "        os._exit(0)\n"
        )
        each = 3 + 40  # its standard ones and what it opened
        wait_for(
            lambda: census(scripted.pid, at=0.0).fds.get("directory") == 3 * 40 + 65,
            "both children have theirs",
        )
        taken = census(scripted.pid, at=0.0)
        assert sum(taken.fds.values()) == 3 * each + 65
        assert sorted(taken.per_process.values()) == [each, each + 5, each + 60]
        assert taken.per_process[str(scripted.pid)] == each
        assert census_of(json.loads(census_line(taken))["census"], 0.0).per_process == taken.per_process
