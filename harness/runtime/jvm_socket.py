"""The attach socket of a JVM: sends it a command of jcmd, and checks that the JVM itself answers.

HotSpot listens at ``/tmp/.java_pidPID`` once it is asked to (attachListener_linux.cpp), a predictable path in a folder
that all users share. jcmd checks the owner of that file, except for root; another user who makes it first would then
answer in the name of the service.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path

from harness.core.errors import ProbeError
from harness.process.peer import peer_of
from harness.process.proc import owner

TIMEOUT = 2.0  # seconds to connect
CHUNK = 1 << 16  # bytes read at once
# The request of the attach protocol: its version, the command and exactly three arguments, each ended by a zero byte.
REQUEST = "1\0jcmd\0{}\0\0\0"
DONE = "0"  # the first line of the answer where the command succeeded


def path_of(pid: int) -> Path:
    """The path of the attach socket, in the file system and with the process id that the JVM itself sees (proc(5),
    NSpid)."""
    number = str(pid)
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                number = line.split()[-1]
    except OSError:
        pass
    return Path(f"/proc/{pid}/root/tmp/.java_pid{number}")


def check(pid: int, *, required: bool) -> None:
    """Raise ProbeError unless the attach socket belongs to the JVM ``pid``, by its owner, its mode and the process that
    listens. required: False as long as the JVM may not have made it yet."""
    connection = connect(pid)
    if connection:
        connection.close()
    elif required:
        raise ProbeError(f"{path_of(pid)}: process {pid} does not listen there; expected its attach socket")


def connect(pid: int) -> socket.socket | None:
    """A connection to the attach socket of the JVM ``pid``; None if it has not made one. Raises ProbeError unless the
    socket is its own, by its owner, its mode and the process that listens."""
    path = path_of(pid)
    name = f"/tmp/{path.name}"  # noqa: S108 - named, not used
    user = owner(pid)
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProbeError(f"{name}: {error.strerror}; expected the right to read /proc/{pid}/root") from None
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != user or status.st_mode & 0o077:
        raise ProbeError(
            f"{name} is {stat.filemode(status.st_mode)} of user {status.st_uid}; expected a socket of user {user} "
            f"alone, made by process {pid}: another user may have made it; remove it"
        )
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT)
    try:
        # Only a connection shows which process listens: the kernel keeps the pid of the caller of listen(2).
        connection.connect(str(path))
        listener = peer_of(connection)[0]
    except OSError as error:
        connection.close()
        raise ProbeError(f"{name}: {error}; expected process {pid} to listen there") from None
    if listener != pid:
        connection.close()
        raise ProbeError(f"{name}: process {listener} listens there; expected process {pid}, the JVM")
    return connection


def ask(pid: int, command: str, *, timeout: float, limit: int) -> str | None:
    """The output of one command of jcmd, asked for over the attach socket; None if the JVM has made no such socket, or
    accepts no command of this user. Raises ProbeError if it does not answer within timeout seconds, or refuses the
    command."""
    connection = connect(pid)
    if connection is None:
        return None
    deadline = time.monotonic() + timeout
    received = bytearray()
    with connection:
        try:
            connection.sendall(REQUEST.format(command).encode())
            while len(received) < limit and (data := _received(connection, deadline)):
                received += data
        except TimeoutError:
            raise ProbeError(
                f"JVM {pid}, {command}: no answer in {timeout:g} s; is the JVM at a safepoint?"
            ) from None
        except OSError:
            # HotSpot closes the connection of a user whom it does not accept, without an answer.
            return None
    code, _, text = received[:limit].decode(errors="replace").partition("\n")
    if not code:
        return None
    if code != DONE:
        complaint = text.strip().splitlines()
        raise ProbeError(f"JVM {pid}, {command}: {complaint[0][:200] if complaint else f'error {code[:20]}'}")
    return text


def _received(connection: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
    return connection.recv(CHUNK)


def is_trusted_program(path: Path) -> bool:
    """Whether the harness may run a program whose path the service chose: only if no user but root and this one could
    have written it, or replaced a folder on the way to it."""
    try:
        real = path.resolve(strict=True)
        return all(_is_ours(each) for each in (real, *real.parents))
    except OSError:
        return False


def _is_ours(path: Path) -> bool:
    status = path.stat()
    # In a folder with the sticky bit, such as /tmp, users can replace only their own files (chmod(2), S_ISVTX).
    sticky = stat.S_ISDIR(status.st_mode) and bool(status.st_mode & stat.S_ISVTX)
    return status.st_uid in (0, os.geteuid()) and (sticky or not status.st_mode & 0o022)
