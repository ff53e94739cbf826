"""Resources that a service may retain: one function per class of descriptor, kind of work and kind of memory.

Each makes one thing and keeps it for good. Those that a runtime has of its own (a task, a greenlet) are added by the
service of that runtime. Standard library alone, Python 3.8 or later aside from ``os.eventfd`` (3.10).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import socket
import tempfile
import threading
from collections.abc import Callable

KEPT: list[object] = []
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.malloc.restype = ctypes.c_void_p
IO_URING_SETUP = 425  # syscall number on x86-64 and arm64 alike
MALLOC = 4096
BYTES = 2048


class Kept:
    """One object of a type that nothing else uses."""

    __slots__ = ("held",)


def _checked(number: int) -> int:
    if number < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return number


def _own_socket(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    KEPT.append(made)
    return made


def tcp_listen() -> None:
    made = _own_socket(socket.AF_INET)
    made.bind(("127.0.0.1", 0))
    made.listen(1)


_UPSTREAM: list[socket.socket] = []


def _upstream() -> socket.socket:
    """Another server: a listener of this process, whose backlog accepts connections."""
    if not _UPSTREAM:
        _UPSTREAM.append(socket.create_server(("127.0.0.1", 0), backlog=4096))
    return _UPSTREAM[0]


def tcp_out() -> None:
    KEPT.append(socket.create_connection(_upstream().getsockname()))


def tcp_in() -> None:
    """Both ends of a connection: the accepted one, and that of its client."""
    tcp_out()
    KEPT.append(_upstream().accept()[0])


def rowless() -> None:
    _own_socket(socket.AF_INET)


def udp() -> None:
    _own_socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", 0))


def unix() -> None:
    _own_socket(socket.AF_UNIX)


def netlink() -> None:
    _own_socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)


def eventfd() -> None:
    KEPT.append(os.eventfd(0))


def eventpoll() -> None:
    KEPT.append(select.epoll())


def timerfd() -> None:
    KEPT.append(_checked(LIBC.timerfd_create(1, 0o2000000)))


def signalfd() -> None:
    mask = (ctypes.c_ulong * 16)()
    KEPT.append(_checked(LIBC.signalfd(-1, mask, 0o2000000)))


def inotify() -> None:
    KEPT.append(_checked(LIBC.inotify_init1(0o2000000)))


def pidfd() -> None:
    KEPT.append(os.pidfd_open(os.getpid()))


def memfd() -> None:
    KEPT.append(os.memfd_create("kept"))


def pipe() -> None:
    KEPT.append(os.pipe())


def io_uring() -> None:
    KEPT.append(_checked(LIBC.syscall(IO_URING_SETUP, 4, (ctypes.c_char * 120)())))


def file() -> None:
    KEPT.append(os.open(__file__, os.O_RDONLY | os.O_CLOEXEC))


def deleted_file() -> None:
    KEPT.append(tempfile.TemporaryFile())  # noqa: SIM115 - never closed, that is the point


def directory() -> None:
    KEPT.append(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def device() -> None:
    KEPT.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))


def thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def process() -> None:
    KEPT.append(os.posix_spawn("/bin/sleep", ["sleep", "3600"], {}))


def zombie() -> None:
    KEPT.append(os.posix_spawn("/bin/true", ["true"], {}))


def mapping() -> None:
    """Shared and anonymous: the kernel never merges it with its neighbour."""
    KEPT.append(mmap.mmap(-1, mmap.PAGESIZE))


def object_() -> None:
    KEPT.append(Kept())


def bytes_() -> None:
    KEPT.append(bytearray(BYTES))


def malloc() -> None:
    """Memory that no Python object holds, as a C extension would leak it."""
    LIBC.memset(ctypes.c_void_p(LIBC.malloc(ctypes.c_size_t(MALLOC))), 1, ctypes.c_size_t(MALLOC))


def poller() -> None:
    """A thread that looks ten times a second whether there is anything to do."""

    def look(never: threading.Event) -> None:
        while not never.wait(0.1):
            sum(range(500))

    threading.Thread(target=look, args=(threading.Event(),), daemon=True).start()


THINGS: dict[str, Callable[[], None]] = {
    "tcp-listen": tcp_listen,
    "tcp-out": tcp_out,
    "tcp-in": tcp_in,
    "rowless-socket": rowless,
    "udp": udp,
    "unix": unix,
    "netlink": netlink,
    "eventfd": eventfd,
    "eventpoll": eventpoll,
    "timerfd": timerfd,
    "signalfd": signalfd,
    "inotify": inotify,
    "pidfd": pidfd,
    "memfd": memfd,
    "pipe": pipe,
    "io_uring": io_uring,
    "file": file,
    "deleted-file": deleted_file,
    "directory": directory,
    "device": device,
    "thread": thread,
    "process": process,
    "zombie": zombie,
    "mapping": mapping,
    "object": object_,
    "bytes": bytes_,
    "malloc": malloc,
    "poller": poller,
}
