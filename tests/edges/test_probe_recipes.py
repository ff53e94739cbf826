"""Each recipe is tested with a process that really leaks in that way, several times."""

from __future__ import annotations

import socket
import time

import pytest

from harness.core.census_diff import difference, levels
from harness.core.judge.recipe import RECIPES, match, sentence
from harness.core.sample import Census
from harness.probe.census import census
from tests.edges.probe_target import ScriptedProcess, asleep, wait_for
from tests.edges.test_probe_census import HELD, PAIRS

TIMES = 6
CTYPES = "import ctypes; libc = ctypes.CDLL(None)\n"
ZMQ = (
    "import zmq, threading\n"
    "router = zmq.Context(); r = router.socket(zmq.ROUTER)\n"
    "port = r.bind_to_random_port('tcp://127.0.0.1'); endpoint = f'tcp://127.0.0.1:{port}'\n"
    "context = zmq.Context(); spare = context.socket(zmq.DEALER); spare.connect(endpoint); spare.send(b'')\n"
    "r.recv_multipart()\n"
)
# For root, or CAP_NET_RAW, and a kernel that has the protocol; else -1.
RAW = """
import socket
def opened(*kind):
    try: return socket.socket(*kind)
    except OSError: return -1
"""
# recipe → (once, before the first census; then TIMES over; what the peer does)
DONE: dict[str, tuple[str, str]] = {
    "zeromq-context": (
        "import zmq",
        "kept.append(zmq.Context()); kept.append(kept[-1].socket(zmq.DEALER))",
    ),
    "event-loop": ("import asyncio", "kept.append(asyncio.new_event_loop())"),
    "event-loop-thread": (
        "import asyncio, threading",
        "kept.append(asyncio.new_event_loop()); threading.Thread(target=kept[-1].run_forever).start()",
    ),
    "gevent-hub": (
        "import gevent, threading\ndef work():\n    gevent.sleep(60)\n",
        "threading.Thread(target=work).start()",
    ),
    "zombie": ("import os", "os.fork() or os._exit(0)"),
    "zombie-pipe": (
        "import subprocess",
        "kept.append(subprocess.Popen(['true'], stdout=subprocess.PIPE))",
    ),
    "child-process": ("import subprocess", "kept.append(subprocess.Popen(['sleep', '60']))"),
    "child-process, with pipes to it": (
        "import subprocess",
        "kept.append(subprocess.Popen(['sleep', '60'], stdin=subprocess.PIPE, stdout=subprocess.PIPE))",
    ),
    "rowless-socket": (PAIRS, "kept.append(socket.socket()); kept[-1].bind(('127.0.0.1', 0))"),
    "mptcp": (RAW, "kept.append(opened(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP))"),
    "listener": (PAIRS, "kept.append(socket.socket()); kept[-1].bind(('127.0.0.1', 0)); kept[-1].listen(1)"),
    "udp": (
        "import socket",
        "kept.append(socket.socket(type=socket.SOCK_DGRAM)); kept[-1].connect(('127.0.0.1', 53))",
    ),
    "inotify": (CTYPES, "kept.append(libc.inotify_init1(0)); libc.inotify_add_watch(kept[-1], b'/tmp', 2)"),
    "shared-queue": ("import multiprocessing", "kept.append(multiprocessing.Queue())"),
    "pipe-pair": ("import os", "kept.append(os.pipe())"),
    # A frequent mistake: the parent closes its own end, and the write end stays open in another process.
    "pipe": ("import os", "read, write = os.pipe(); os.close(read); kept.append(write)"),
    "unix-pair": ("import socket", "kept.append(socket.socketpair())"),
    "unix": ("import socket", "kept.append(socket.socket(socket.AF_UNIX))"),
    "packet": (RAW, "kept.append(opened(socket.AF_PACKET, socket.SOCK_RAW))"),
    "raw": (RAW, "kept.append(opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))"),
    "netlink": ("import socket", "kept.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))"),
    "timerfd": (CTYPES, "kept.append(libc.timerfd_create(1, 0))"),
    "signalfd": (CTYPES, "kept.append(libc.signalfd(-1, bytes(128), 0))"),
    "pidfd": ("import os", "kept.append(os.pidfd_open(os.getpid()))"),
    "io-uring": (CTYPES, "kept.append(libc.syscall(425, 8, bytes(120)))"),
    "deleted-file": ("import tempfile", "kept.append(tempfile.TemporaryFile()); kept[-1].write(b'x')"),
    "memfd": ("import os", "kept.append(os.memfd_create('buffer'))"),
    "directory": ("import os", "kept.append(os.scandir('/usr')); next(kept[-1])"),
    "device": ("import os", "kept.append(os.openpty()); os.close(kept[-1][1])"),
    "file": ("import logging", "kept.append(logging.FileHandler('/dev/shm/probe-test.log'))"),
    "eventfd": (CTYPES, "kept.append(libc.eventfd(0, 0))"),
    "eventfd, of a ZeroMQ socket that never connected": (
        "import zmq; context = zmq.Context(); first = context.socket(zmq.DEALER)",
        "kept.append(context.socket(zmq.DEALER)); kept[-1].connect('inproc://nobody')",
    ),
    "eventpoll": ("import select", "kept.append(select.epoll())"),
    "blocked-worker": (
        "import threading; never = threading.Event()",
        "threading.Thread(target=never.wait).start()",
    ),
    "mapping": ("import mmap", "kept.append(mmap.mmap(-1, 4096, prot=1 + len(kept) % 2 * 2))"),
}
# The clients disconnect by a FIN and by a RST in turn.
FIN_AND_RST = (
    "turn = 1 - globals().get('turn', 0); client = kept.pop()\n"
    "if turn: client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))\n"
    "client.close()"
)
# recipe → (the target's preparation, what it does, what the peer does after each); `port` is the peer's,
# `here` the target's.
TOGETHER: dict[str, tuple[str, str, str]] = {
    "zeromq-socket": (
        "import zmq; context = zmq.Context(); s = context.socket(zmq.DEALER); s.connect(endpoint)",
        "kept.append(context.socket(zmq.DEALER)); kept[-1].connect(endpoint)",
        "",
    ),
    "zeromq-worker": (
        "import zmq, threading\n"
        "context = zmq.Context(); s = context.socket(zmq.DEALER); s.connect(endpoint)\n"
        "def check():\n"
        "    with context.socket(zmq.DEALER) as dealer:\n"
        "        dealer.connect(endpoint); dealer.send(b'alive?'); dealer.recv()\n",
        "threading.Thread(target=check).start()",
        "",
    ),
    "close-wait": (PAIRS, "kept.append(accepted())", "kept.pop().close()"),
    "unnoticed-departure": (PAIRS, "kept.append(accepted())", FIN_AND_RST),
    "unnoticed-departure-mptcp": (
        "import socket\nkept.append(socket.socket(proto=socket.IPPROTO_MPTCP))\n"
        "listener = kept[-1]; listener.bind(('127.0.0.1', 0)); listener.listen(64)\n"
        "port = listener.getsockname()[1]\n",
        "kept.append(accepted())",
        FIN_AND_RST,
    ),
    "close-wait-worker": (
        PAIRS + "import threading; never = threading.Event()\n",
        "kept.append(accepted()); threading.Thread(target=never.wait).start()",
        "kept.pop().close()",
    ),
    "inbound": (PAIRS, "kept.append(accepted())", ""),
    "inbound-worker": (
        PAIRS + "import threading\n",
        "kept.append(accepted()); threading.Thread(target=kept[-1].recv, args=(1,)).start()",
        "",
    ),
    "outbound": ("import socket", "kept.append(socket.create_connection(('127.0.0.1', port)))", ""),
    "outbound-worker": (
        "import socket, threading",
        "kept.append(socket.create_connection(('127.0.0.1', port)))\n"
        "threading.Thread(target=kept[-1].recv, args=(1,)).start()",
        "",
    ),
}


# The sentences for plain growth, without a rate: twelve pipes may be six pairs.
UNCOUNTED = {"pipe-pair": "pipe", "unix-pair": "unix"}


def settled(pid: int, *peers: int) -> Census:
    """A census on which three readings in a row agree, taken while all processes are idle: threads and connections need
    a moment."""
    last: list[Census] = []

    def rests() -> bool:
        if not all(map(asleep, (pid, *peers))):
            last.clear()
            return False
        last.append(census(pid, at=time.monotonic()))
        return len(last) > 2 and len({(str(c.fds), str(c.threads), c.zombies) for c in last[-3:]}) == 1

    wait_for(rests, "it comes to rest")
    return last[-1]


def rates(before: Census, after: Census) -> dict[object, float]:
    """Growth per time it was done, as the judge gives it to the recipes: totals and kinds."""
    old = levels(before)
    return {key: (value - old.get(key, 0.0)) / TIMES for key, value in levels(after).items()}


def test_every_recipe_has_a_process_that_leaks_like_that() -> None:
    assert {recipe.name for recipe in RECIPES} == {name.partition(",")[0] for name in (*DONE, *TOGETHER)}


@pytest.mark.parametrize("name", DONE)
def test_a_leaking_process_gets_the_sentence_of_its_recipe(name: str) -> None:
    once, again = DONE[name]
    with ScriptedProcess() as scripted:
        scripted.run(once)
        # Twice more than is counted: what the first call loads is not what each call keeps.
        scripted.run(again)
        before = settled(scripted.pid)
        for _ in range(TIMES):
            scripted.run(again)
        if scripted.run("answer = any(isinstance(held, int) and held < 0 for held in kept)"):
            pytest.skip("this kernel refuses it")
        check(name, before, settled(scripted.pid))


def has_mptcp() -> bool:
    try:
        socket.socket(proto=socket.IPPROTO_MPTCP).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", TOGETHER)
def test_a_process_that_leaks_with_a_peer_gets_the_sentence_of_its_recipe(name: str) -> None:
    if "mptcp" in name and not has_mptcp():
        pytest.skip("this kernel refuses it")
    once, again, peer_does = TOGETHER[name]
    with ScriptedProcess() as peer, ScriptedProcess() as scripted:
        if "zmq" in once:
            peer.run(ZMQ)
            scripted.run(f"endpoint = {peer.run('answer = endpoint')!r}")
        else:
            peer.run(PAIRS)
            scripted.run(f"port = {peer.run('answer = port')}")
        scripted.run(once)
        if "accepted" in again:
            scripted.run("accepted = lambda: listener.accept()[0]")
            peer.run(f"here = {scripted.run('answer = port')}")

        def once_more() -> None:
            if "accepted" in again:
                peer.run("kept.append(socket.create_connection(('127.0.0.1', here)))")
            scripted.run(again)
            if peer_does:
                peer.run(peer_does)

        once_more()
        before = settled(scripted.pid, peer.pid)
        for _ in range(TIMES):
            once_more()
        check(name, before, settled(scripted.pid, peer.pid))


def check(name: str, before: Census, after: Census) -> None:
    found = rates(before, after)
    counted = {str(key): rate for key, rate in found.items() if rate and "memory" not in str(key)}
    recipe = match(found)  # type: ignore[arg-type]
    assert recipe, counted
    assert recipe.name == name.partition(",")[0], counted
    said = sentence(found, per="call")  # type: ignore[arg-type]
    assert said.startswith("+")
    assert said.endswith(recipe.sentence)
    assert "per call: " in said
    # The same from plain differences, as the live view has them.
    grown = {growth.key: growth.by for growth in difference(before, after) if growth.key.metric != "memory"}
    plain = match(grown, each=False)
    assert plain
    assert plain.name == UNCOUNTED.get(recipe.name, recipe.name)


def test_every_class_that_can_be_held_has_a_recipe() -> None:
    """A class that grows alone always has a sentence."""
    without = {"namespace"}
    for kind in HELD.keys() - without:
        assert any(f"fds/{kind}" in recipe.pattern for recipe in RECIPES), kind
