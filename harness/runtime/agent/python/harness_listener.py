"""The agent's socket and its one sleeping thread, inside the target. Standard library only.

Every choice keeps the target as it would be without the agent:

- a raw thread (``_thread``), unknown to ``threading``: no join at exit, nothing in ``enumerate()``, untouched by
  gevent's monkey-patching and uvloop; all signals are blocked in it, so handlers and ``sigwait`` work as before;
- it ends before every fork and starts again after it, in both processes: the child is as single-threaded as it
  would have been, and Python 3.12's warning about forking with threads has no cause;
- the socket's number is high, so the target's own numbers are the same with and without it, and it is closed on
  exec. A target that closes every descriptor gets what it wants: the number is never used again unless it is
  still our socket (inode compared), and a new socket is made.
"""

from __future__ import annotations

import _signal
import _socket
import _thread
import fcntl
import posix
import select
import sys

if False:  # for the type checker alone: the target need not load typing
    from collections.abc import Callable

TIMEOUT = 5.0  # seconds for a client that connected and sends nothing
PAUSE_TIMEOUT = 1.0  # seconds that a fork waits for a reading in progress
SUN_PATH = 107  # bytes of a Unix socket's path (unix(7))
PEERCRED_SIZE = 12  # struct ucred: pid, uid, gid (unix(7))
# Blocked for our thread; a fault of our own must still end the process as it would anywhere (signal(7)).
SYNCHRONOUS = {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL}
# os.fork warns about other threads. From 3.13 on it looks for them after the hooks of the parent, so a thread that a
# hook starts again is reported; before that it looks between the fork and the hooks.
WARNS_AFTER_HOOKS = sys.version_info >= (3, 13)

# Taken before anything in the target can replace them.
_start_thread = _thread.start_new_thread
_make_lock = _thread.allocate_lock
_native_id = getattr(_thread, "get_native_id", lambda: 0)


class Listener:
    """The socket and the thread of one process."""

    def __init__(
        self,
        directory: str,
        answer: Callable[[_socket.socket], None],
        soon: Callable[[Callable[[], object], object], bool],
    ) -> None:
        self.directory = directory
        self.answer = answer
        self.soon = soon
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
        listener.settimeout(0)
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
        """Forget the listener, closing it only when it is still ours: its number may belong to the target by now."""
        if self.listener is not None:
            if self.ours():
                self.listener.close()
            else:
                self.listener.detach()
        self.listener = None

    # -- life of the thread

    def run(self) -> None:
        """Start the thread with every signal blocked: it inherits the mask of the caller, whose own is restored
        afterwards."""
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
        """Accept and answer until ``stopping`` is set."""
        try:
            self.thread = _native_id() or -1
            while not self.stopping:
                if not self.ours():
                    self.drop()
                    self.bind()
                assert self.listener is not None
                # Not a blocking accept: while it waits, the kernel holds the lowest free descriptor number for
                # it (net/socket.c, __sys_accept4_file), and the target's own numbers would be others.
                waiting = select.poll()
                waiting.register(self.listener.fileno(), select.POLLIN)
                waiting.poll()
                if not self.stopping and self.ours():
                    self.serve_one(self.listener)
        except BaseException:
            pass
        finally:
            ended.release()

    def serve_one(self, listener: _socket.socket) -> None:
        """Accept one connection and answer it."""
        try:
            number, _ = listener._accept()  # type: ignore[attr-defined]
        except OSError:
            # No descriptor left (EMFILE): the connection stays in the queue, and poll() would return at once for it.
            _wait(0.5)
            return
        connection = _socket.socket(fileno=number)
        try:
            connection.settimeout(TIMEOUT)
            if self.is_trusted_peer(connection):
                self.answer(connection)
        except Exception:
            pass
        finally:
            connection.close()

    def is_trusted_peer(self, connection: _socket.socket) -> bool:
        """Only the user who started the agent and root are answered; the connection by which ``pause`` ends the poll
        is not."""
        peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, PEERCRED_SIZE)
        pid, user = (int.from_bytes(peer[at : at + 4], sys.byteorder) for at in (0, 4))
        return user in (self.user, 0) and pid != self.pid

    def pause(self) -> None:
        """Before a fork: end the thread and wait until the kernel has forgotten it."""
        if not self.thread or self.thread == _native_id() or self.pid != posix.getpid():
            return
        self.stopping = True
        try:
            wake = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                wake.settimeout(PAUSE_TIMEOUT)
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
                # The path no longer leads to the socket: shutdown(2) ends the poll instead, and spends the socket.
                self.listener.shutdown(_socket.SHUT_RDWR)
                self.inode = 0
        if self.ended.acquire(True, PAUSE_TIMEOUT):
            self.ended.release()
            thread, self.thread = self.thread, 0
            # The thread has left Python, but the kernel counts it for a moment longer, and Python 3.12 warns about a
            # fork by the kernel's count.
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
        # Frames: this one, the hook around it, the one that called fork.
        if not (WARNS_AFTER_HOOKS and self.soon(self.run, sys._getframe(2))):
            self.run()

    def after_fork_in_child(self) -> None:
        """After a fork, in the child: a socket and a thread of its own."""
        was_there = self.pid
        self.thread = 0
        self.drop()
        if was_there:
            self.bind()
            self.run()

    def leave(self) -> None:
        """At a normal exit: remove the socket's file. In a child that C code forked, ``pid`` is that of its parent,
        whose file stays."""
        if self.pid == posix.getpid():
            posix.unlink(self.path())


def _wait(seconds: float) -> None:
    """Sleep without ``time``, which the target may have replaced."""
    lock = _make_lock()
    lock.acquire()
    lock.acquire(True, seconds)
