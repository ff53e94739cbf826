"""The agent: answers the harness from inside the target, on a Unix socket. Standard library only.

Protocol: connect, send one line (a command and a number), read one JSON object until end of file. The socket has
mode 0600 in a private folder, and a peer of another user than the one who started the agent is not answered.
Every error ends in silence: nothing is printed, nothing is raised into the target.
"""

from __future__ import annotations

import _thread
import atexit
import posix
import sys

import harness_holders
import harness_readings
import harness_sites
from harness_listener import Listener

if False:  # for the type checker alone: the target need not load typing
    import _socket
    from collections.abc import Callable

DIRECTORY = "HARNESS_RUNTIME_DIRECTORY"
TRACE = "HARNESS_RUNTIME_TRACE"  # frames: trace allocations from the start
MAX_TRIES = 1000  # checks of the interpreter until which a fork must be over


def answer(connection: _socket.socket) -> None:
    """One command, one JSON object."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 256:
        part = connection.recv(256)
        if not part:
            return
        line += part
    name, _, number = line.decode("ascii", "replace").strip().partition(" ")
    try:
        result = COMMANDS[name](int(number or 0))
    except KeyError:
        result = {"error": "unknown command"}
    except Exception as error:
        result = {"error": "%s: %s" % (type(error).__name__, error)}
    connection.sendall(harness_readings.encode(result))


COMMANDS = {
    "read": harness_readings.read,
    "types": harness_readings.types,
    "sites": harness_sites.sites,
    "trace": harness_sites.trace,
    "untrace": harness_sites.untrace,
    "snapshot": harness_sites.snapshot,
    "containers": harness_holders.containers,
}

_agent: Listener | None = None
_pending: list[object] = []


def suppress_errors(action: Callable[[], object]) -> Callable[[], None]:
    """Hooks run inside the target's own calls: they must never raise there."""

    def hook() -> None:
        try:
            action()
        except Exception:
            pass

    return hook


def soon(action: Callable[[], object], back_in: object) -> bool:
    """Have the main thread run ``action`` once it is back in the frame ``back_in`` (Py_AddPendingCall): os.fork has
    looked for threads by then. False when that is not possible: without ctypes, or in another thread than the main
    one."""
    ctypes = harness_readings.library_ctypes()
    if ctypes is None or _thread.get_ident() != _thread._get_main_thread_ident():  # type: ignore[attr-defined]
        return False
    add = ctypes.pythonapi.Py_AddPendingCall
    awaited = [back_in]
    tries_left = MAX_TRIES

    def pending(_: object) -> int:
        nonlocal tries_left
        # Still inside os.fork: try again at the interpreter's next check.
        if awaited and sys._getframe(1) is not awaited[0] and tries_left:
            tries_left -= 1
            add(_pending[0], None)
        else:
            awaited.clear()  # the frame, and all that it refers to, is the target's own
            suppress_errors(action)()
        return 0

    # The interpreter keeps no reference to the callback, so it is kept here.
    _pending[:] = [ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(pending)]
    return add(_pending[0], None) == 0


def start(directory: str) -> bool:
    """Start answering in ``directory`` (mode 0700, ours). False when it runs already."""
    global _agent
    if _agent is not None:
        return False
    agent = Listener(directory, answer, soon)
    agent.bind()
    agent.run()
    _agent = agent
    posix.register_at_fork(
        before=suppress_errors(agent.pause),
        after_in_parent=suppress_errors(agent.resume),
        after_in_child=suppress_errors(agent.after_fork_in_child),
    )
    atexit.register(suppress_errors(agent.leave))
    return True


def start_from_environment() -> None:
    """Start if the environment names a folder, in a process that the harness spawned. The variables stay for its
    children: they name a folder rather than a socket, so that each process gets a socket of its own."""
    directory = posix.environ.get(DIRECTORY.encode())
    if directory:
        start(directory.decode("utf-8", "surrogateescape"))
        frames = posix.environ.get(TRACE.encode(), b"")
        if frames.isdigit():
            harness_sites.trace(int(frames))
