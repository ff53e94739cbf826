"""The Unix sockets on which agents answer: one per process, in a private folder.

Protocol: connect, one line ``COMMAND [NUMBER]``, one JSON object until end of file.

Only an answer of the target counts. Another local user may have made the folder, the socket or both. So each connection
checks that the folder (not a symbolic link) and the socket belong to a trusted user and are closed to all others, and
that the kernel names such a user as the listener (SO_PEERCRED, unix(7)).
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import time
from collections.abc import Collection, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import ProbeError
from harness.process.peer import peer_of

DIRECTORY = "HARNESS_RUNTIME_DIRECTORY"  # the variable with the folder in which agents listen
ANSWER_LIMIT = 256 << 20  # bytes; a snapshot of a very large heap has a few MB
TIMEOUT = 20.0  # seconds for an answer: a collection of 10 million objects takes 3 s
RETRY = 0.02  # seconds between two attempts to connect
START_POLL = 0.02  # seconds between two questions to an agent that may not have started yet
REPLACED_TIMEOUT = 1.0  # seconds in which an agent that gives up a socket makes a new one (after a fork)
NAME = re.compile(r"[a-z]+-(\d+)(?:-\d+)?\.sock")  # agent, process id as the agent sees it, thread of a Node
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one process. pid: its number on this machine, from the kernel (SO_PEERCRED)."""

    pid: int
    body: dict[str, Any]


def default_directory(user: int | None = None) -> Path:
    """The folder in which a service that imports ``harness.runtime.agent`` itself answers. user: its uid, by default
    this process's. The agent has the same rule."""
    return Path(f"/tmp/harness-runtime-{os.geteuid() if user is None else user}")  # noqa: S108 - checked at every use


def private_folder(directory: Path) -> Path:
    """Make the folder with mode 0700. Raises ProbeError if it exists and belongs to another user, is open to others or
    is a symbolic link."""
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass
    descriptor = _open_folder(directory, {os.geteuid()})
    os.close(descriptor)
    return directory


def _open_folder(directory: Path, users: Collection[int]) -> int:
    """A descriptor of the folder, so that it cannot be replaced after the check. Raises ProbeError when it is
    not private to one of ``users``, FileNotFoundError when there is none."""
    try:
        descriptor = os.open(directory, FOLDER)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ProbeError(
            f"{directory}: {error.strerror}; expected a folder and no symbolic link, because agents answer there: "
            "another user may have made it; remove it"
        ) from None
    status = os.fstat(descriptor)
    if status.st_uid in users and not status.st_mode & 0o077:
        return descriptor
    os.close(descriptor)
    raise ProbeError(
        f"{directory} has mode {status.st_mode & 0o777:o} and owner {status.st_uid}; expected 700 and owner "
        f"{_names(users)}, because agents answer there: remove it, or choose a folder that does not exist yet"
    )


def _names(users: Collection[int]) -> str:
    return " or ".join(map(str, sorted(users)))


def ask(
    path: Path, command: str, *, timeout: float = TIMEOUT, users: Collection[int] | None = None
) -> Answer | None:
    """Ask the agent behind one socket. None when its process has exited. timeout: seconds. users: the uids whose answer
    counts, by default this process's.

    Raises ProbeError when the process runs and does not answer, answers with an error, or belongs to another user.
    """
    users = {os.geteuid()} if users is None else users
    deadline = time.monotonic() + timeout
    give_up = time.monotonic() + REPLACED_TIMEOUT
    while True:
        refused = False
        try:
            pid, data = _exchange(path, command, deadline, users)
        except (FileNotFoundError, ConnectionError) as error:
            pid, data = 0, b""
            # After a reset there is an agent: it makes a new socket after a fork, or has not closed this one to others
            # yet.
            refused = not isinstance(error, ConnectionResetError)
        except (TimeoutError, BlockingIOError):
            raise ProbeError(
                f"{path.name}: no answer to {command!r} in {timeout:g} s; expected the target to be idle: "
                "is its interpreter blocked?"
            ) from None
        if data:
            break
        alive = Path(f"/proc/{_pid_of(path.name)}").exists()
        if time.monotonic() > give_up or (refused and not alive):
            if alive and not refused:
                raise ProbeError(
                    f"{path.name}: its process runs and does not answer; expected an answer: was it "
                    "started by another user?"
                )
            path.unlink(missing_ok=True)  # no process listens: it has exited, or its pid was reused
            return None
        time.sleep(RETRY)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise ProbeError(
            f"{path.name}: its answer to {command!r} was cut short; has the target exited?"
        ) from None
    if not isinstance(body, dict):
        raise ProbeError(f"{path.name}: answered {str(body)[:60]!r} to {command!r}; expected an object")
    if "error" in body:
        raise ProbeError(f"{path.name}: {command!r} failed inside the target: {body['error']}")
    return Answer(pid, body)


def _exchange(path: Path, command: str, deadline: float, users: Collection[int]) -> tuple[int, bytes]:
    """The peer's pid and its whole answer. Raises OSError, TimeoutError at the deadline, and ProbeError for a peer of
    another user."""
    parts: list[bytes] = []
    size = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        _connect(connection, path, users)
        pid, user = peer_of(connection)
        if user not in users:
            raise ProbeError(
                f"{path.name}: answered by user {user}; expected user {_names(users)}, whose process the target is"
            )
        connection.sendall(command.encode() + b"\n")
        while size <= ANSWER_LIMIT:
            # Each recv(2) gets only what is left: a peer that sends byte by byte must not pass the deadline.
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            part = connection.recv(1 << 18)
            if not part:
                return pid, b"".join(parts)
            parts.append(part)
            size += len(part)
    raise ProbeError(f"{path.name}: the answer is larger than {ANSWER_LIMIT >> 20} MiB; expected less")


def _connect(connection: socket.socket, path: Path, users: Collection[int]) -> None:
    """Connect through the folder's descriptor, which also keeps the address short enough for sun_path (unix(7))."""
    folder = _open_folder(path.parent, users)
    try:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid not in users:
            raise ProbeError(
                f"{path.name}: is not a socket of user {_names(users)} (owner {status.st_uid}, "
                f"{stat.filemode(status.st_mode)}); expected that of the agent: another program made it"
            )
        if status.st_mode & 0o077:
            # A Node sets the mode right after it listens. Nobody else can enter the folder meanwhile.
            raise ConnectionResetError(f"{path.name} is still open to others")
        # connect(2) resolves the path again, but only below the folder that was checked.
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _pid_of(name: str) -> int:
    """The process id in a socket's name; -1 for a name that no agent chooses."""
    found = NAME.fullmatch(name)
    return int(found[1]) if found else -1


def ask_all(
    directory: Path,
    agent: str,
    command: str,
    *,
    among: Container[int] | None = None,
    timeout: float = TIMEOUT,
    users: Collection[int] | None = None,
) -> list[Answer]:
    """The answers of all processes whose agent of this name listens in the folder, sorted by pid. among: ask only these
    processes, and accept answers only of them. users: see ``ask``. Raises ProbeError."""
    try:
        os.close(_open_folder(directory, {os.geteuid()} if users is None else users))
    except FileNotFoundError:
        return []
    paths = [
        path
        for path in sorted(directory.glob(f"{agent}-*.sock"))
        if (pid := _pid_of(path.name)) >= 0 and (among is None or pid in among)
    ]
    answers = [ask(path, command, timeout=timeout, users=users) for path in paths]
    found = sorted((answer for answer in answers if answer), key=lambda answer: answer.pid)
    for answer in found:
        # The number in a socket's name is the agent's claim; this one is the kernel's.
        if among is not None and answer.pid not in among:
            raise ProbeError(f"process {answer.pid} answers in {directory}; expected a process of the target")
    return found
