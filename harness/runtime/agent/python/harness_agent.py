"""The agent: one sleeping thread that answers the harness on a Unix socket. Standard library only.

It lives in somebody else's process, so every choice is made for the target's sake:

- a raw thread (``_thread``), unknown to ``threading``: no join at exit, nothing in ``enumerate()``, untouched by
  gevent's monkey-patching and uvloop; all signals are blocked in it, so handlers and ``sigwait`` work as before;
- it ends before every fork and starts again after it, in both processes: the child is as single-threaded as it
  would have been, and Python 3.12's warning about forking with threads has no cause;
- the socket's number is high, so the target's own numbers are the same with and without it, and it is closed on
  exec. A target that closes every descriptor gets what it wants: the number is never used again unless it is
  still our socket (inode compared), and a new socket is made;
- every error ends in silence: nothing is printed, nothing is raised into the target.

Protocol: connect, send one line (a command and a number), read one JSON object until end of file. The socket has
mode 0600 in a private folder, and a peer of another user than the one who started the agent is not answered.
"""

from __future__ import annotations

import _signal
import _socket
import _thread
import atexit
import fcntl
import posix
import sys

import harness_readings
import harness_sites

if False:  # for the type checker alone: the target need not load typing
    from collections.abc import Callable

DIRECTORY = "HARNESS_RUNTIME_DIRECTORY"
TRACE = "HARNESS_RUNTIME_TRACE"  # frames: trace allocations from the start
PATIENCE = 5.0  # seconds for a client that connected and says nothing
PAUSE_PATIENCE = 1.0  # seconds that a fork waits for a reading in progress
SUN_PATH = 107  # bytes of a Unix socket's path (unix(7))
PEERCRED_SIZE = 12  # struct ucred: pid, uid, gid (unix(7))
# Blocked for our thread; a fault of our own must still end the process as it would anywhere (signal(7)).
SYNCHRONOUS = {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL}

# From 3.13 on os.fork looks for threads after the hooks of the parent, before that between fork and hooks.
WARNS_LAST = sys.version_info >= (3, 13)

# Taken before anything in the target can replace them.
_start_thread = _thread.start_new_thread
_make_lock = _thread.allocate_lock
_native_id = getattr(_thread, "get_native_id", lambda: 0)


class Agent:
    """The socket and the thread of one process."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.user = posix.geteuid()
        self.listener: _socket.socket | None = None
        self.inode = 0
        self.pid = 0
        self.thread = 0  # its kernel id; 0: not running
        self.stopping = False
        self.ended = _make_lock()

    # -- life of the socket

    def path(self) -> bytes:
        return b"%s/python-%d.sock" % (self.directory.encode("utf-8", "surrogateescape"), self.pid)

    def address(self) -> tuple[bytes, int]:
        """A path short enough for sun_path, and the folder's descriptor that it may need (-1: none)."""
        path = self.path()
        if len(path) <= SUN_PATH:
            return path, -1
        folder = posix.open(self.directory, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        return b"/proc/self/fd/%d/python-%d.sock" % (folder, self.pid), folder

    def bind(self) -> None:
        """A fresh socket for this process. Raises OSError."""
        self.pid = posix.getpid()
        try:
            posix.unlink(self.path())
        except OSError:
            pass
        low = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            base = max(3, min(posix.sysconf("SC_OPEN_MAX"), 1 << 16) - 32)
            high = fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, base)
        finally:
            low.close()
        listener = _socket.socket(fileno=high)
        listener.settimeout(None)
        posix.fchmod(high, 0o600)  # of the socket, before bind: the umask stays as it is
        address, folder = self.address()
        try:
            listener.bind(address)
        finally:
            if folder >= 0:
                posix.close(folder)
        listener.listen(8)
        self.inode = posix.fstat(high).st_ino
        self.listener = listener

    def ours(self) -> bool:
        """False when the target closed our descriptor; the number may already be one of its own."""
        if self.listener is None:
            return False
        try:
            return posix.fstat(self.listener.fileno()).st_ino == self.inode
        except (OSError, ValueError):
            return False

    def drop(self) -> None:
        """Let go of the listener, closing it only when it is still ours."""
        if self.listener is not None:
            if self.ours():
                self.listener.close()
            else:
                self.listener.detach()
        self.listener = None

    # -- life of the thread

    def run(self) -> None:
        """Start the thread with every signal blocked: it inherits the mask, then ours is put back."""
        if self.thread:
            return
        self.stopping = False
        self.ended = _make_lock()
        self.ended.acquire()
        blocked = set(_signal.valid_signals()) - SYNCHRONOUS
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, blocked)
        try:
            self.thread = -1
            _start_thread(self.serve, (self.ended,))
        except BaseException:
            self.thread = 0
            raise
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def serve(self, ended: _thread.LockType) -> None:
        """Accept and answer until told to stop."""
        try:
            self.thread = _native_id() or -1
            while not self.stopping:
                if not self.ours():
                    self.drop()
                    self.bind()
                assert self.listener is not None
                try:
                    number, _ = self.listener._accept()  # type: ignore[attr-defined]
                except OSError:
                    if self.ours() and not self.stopping:
                        _make_lock_and_wait(
                            0.5
                        )  # no descriptor left (EMFILE): the target's trouble, not ours
                    continue
                connection = _socket.socket(fileno=number)
                try:
                    connection.settimeout(PATIENCE)
                    if self.friend(connection):
                        answer(connection)
                except Exception:
                    pass
                finally:
                    connection.close()
        except BaseException:
            pass
        finally:
            ended.release()

    def friend(self, connection: _socket.socket) -> bool:
        """Only the user who started the agent is answered; ourselves waking us up are not."""
        peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, PEERCRED_SIZE)
        pid, user = (int.from_bytes(peer[at : at + 4], sys.byteorder) for at in (0, 4))
        return user == self.user and pid != self.pid

    def pause(self) -> None:
        """Before a fork: end the thread and wait until the kernel has forgotten it."""
        if not self.thread or self.thread == _native_id() or self.pid != posix.getpid():
            return
        self.stopping = True
        try:
            wake = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                wake.settimeout(PAUSE_PATIENCE)
                address, folder = self.address()
                try:
                    wake.connect(address)
                finally:
                    if folder >= 0:
                        posix.close(folder)
            finally:
                wake.close()
        except OSError:
            if self.ours():
                assert self.listener is not None
                self.listener.shutdown(
                    _socket.SHUT_RDWR
                )  # no way in by the path: accept fails, the socket is spent
                self.inode = 0
        if self.ended.acquire(True, PAUSE_PATIENCE):
            self.ended.release()
            thread, self.thread = self.thread, 0
            for _ in range(1000):
                try:
                    posix.stat("/proc/self/task/%d" % thread)
                except OSError:
                    break
                posix.sched_yield()

    def resume(self) -> None:
        """After a fork, in the parent."""
        if not self.stopping:
            return
        if self.thread:  # it did not end in time: it may still be alive
            self.stopping = False
            if not self.ended.acquire(False):
                return
            self.thread = 0
        if not (WARNS_LAST and soon(quietly(self.run))):
            self.run()

    def reborn(self) -> None:
        """After a fork, in the child: a socket and a thread of its own."""
        was_there = self.pid
        self.thread = 0
        self.drop()
        if was_there:
            self.bind()
            self.run()

    def leave(self) -> None:
        """At a normal exit: the socket's file goes too."""
        if self.pid == posix.getpid():
            posix.unlink(self.path())


def _make_lock_and_wait(seconds: float) -> None:
    """Sleep without ``time``, which the target may have replaced."""
    lock = _make_lock()
    lock.acquire()
    lock.acquire(True, seconds)


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
}

_agent: Agent | None = None
_pending: list[object] = []


def quietly(action: Callable[[], object]) -> Callable[[], None]:
    """Hooks run inside the target's own calls: they must never raise there."""

    def hook() -> None:
        try:
            action()
        except Exception:
            pass

    return hook


def soon(action: Callable[[], None]) -> bool:
    """Have the main thread run ``action`` as soon as it is back in Python (Py_AddPendingCall): the warning about
    threads is over by then. False when that cannot be had."""
    ctypes = harness_readings.library_ctypes()
    if ctypes is None:
        return False
    if not _pending:
        kind = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
        _pending.append(kind(lambda _: action() or 0))  # kept: the interpreter holds a bare pointer
    return ctypes.pythonapi.Py_AddPendingCall(_pending[0], None) == 0


def start(directory: str) -> bool:
    """Start answering in ``directory`` (mode 0700, ours). False when it runs already."""
    global _agent
    if _agent is not None:
        return False
    agent = Agent(directory)
    agent.bind()
    agent.run()
    _agent = agent
    posix.register_at_fork(
        before=quietly(agent.pause),
        after_in_parent=quietly(agent.resume),
        after_in_child=quietly(agent.reborn),
    )
    atexit.register(quietly(agent.leave))
    return True


def start_from_environment() -> None:
    """As the environment says, in a process that the harness spawned. The variables stay for its children:
    they name a folder, not a socket, so that each process gets a socket of its own."""
    directory = posix.environ.get(DIRECTORY.encode())
    if directory:
        start(directory.decode("utf-8", "surrogateescape"))
        frames = posix.environ.get(TRACE.encode(), b"")
        if frames.isdigit():
            harness_sites.trace(int(frames))
