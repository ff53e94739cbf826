"""A netlink socket inside another process's network namespace."""

from __future__ import annotations

import ctypes
import os
import socket
import threading

from harness.probe.sockdiag import open_diag

CLONE_NEWNET = 0x40000000


def same_namespace(directory: int) -> bool | None:
    """Whether the process behind ``directory`` (open on /proc/PID) shares the network namespace of this process;
    None if that may not be read."""
    try:
        theirs = os.stat("ns/net", dir_fd=directory)
        ours = os.stat("/proc/self/ns/net")  # noqa: PTH116 - the hot lane counts microseconds
    except OSError:
        return None
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def namespace_id(directory: int) -> int | None:
    """The inode of its network namespace; None if that may not be read."""
    try:
        return os.stat("ns/net", dir_fd=directory).st_ino
    except OSError:
        return None


def open_diag_in(directory: int) -> socket.socket:
    """A sock_diag socket that sees the tables of the process behind ``directory``.

    A socket stays in the namespace in which it was made, and setns(2) moves only the calling thread. So a new thread
    enters the namespace, makes the socket and exits. Raises OSError without the right to enter (CAP_SYS_ADMIN there).
    """
    same = same_namespace(directory)
    if same:
        return open_diag()
    if same is None:
        raise PermissionError("its network namespace cannot be read")
    namespace = os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.setns(namespace, CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, f"setns: {os.strerror(code)}")
            made.append(open_diag())
        except OSError as error:
            failed.append(error)

    # A thread that has entered cannot serve anything else afterwards, so none of the probe's own is used.
    thread = threading.Thread(target=enter, name="probe-netns")
    thread.start()
    thread.join()
    os.close(namespace)
    if failed:
        raise failed[0]
    return made[0]
