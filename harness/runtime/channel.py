"""The Unix sockets on which agents answer: one per process, in a private folder.

Protocol: connect, one line ``COMMAND [NUMBER]``, one JSON object until end of file.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import ProbeError

DIRECTORY = "HARNESS_RUNTIME_DIRECTORY"  # the variable that tells agents where to listen
ANSWER_LIMIT = 256 << 20  # bytes; a snapshot of a very large heap has a few MB
PATIENCE = 20.0  # seconds for an answer: a collection of 10 million objects takes 3 s
RETRY = 0.02
GONE_PATIENCE = 1.0  # seconds in which an agent that gives up a socket makes a new one (after a fork)
SUN_PATH = 107


@dataclass(frozen=True, slots=True)
class Answer:
    """What one process said. pid: as this machine sees it, from the kernel (SO_PEERCRED)."""

    pid: int
    body: dict[str, Any]


def default_directory() -> Path:
    """Where a service answers that imports ``harness.runtime.agent`` by itself; the agent has the same rule."""
    return Path(f"/tmp/harness-runtime-{os.geteuid()}")  # noqa: S108 - private by mode and owner


def private_folder(directory: Path) -> Path:
    """Make the folder with mode 0700. Raises ProbeError when it exists and is open to others."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ProbeError(
            f"{directory} has mode {status.st_mode & 0o777:o} and owner {status.st_uid}; expected 700 and our own, "
            "because agents answer there: give a folder that does not exist yet"
        )
    return directory


def ask(path: Path, command: str, *, patience: float = PATIENCE) -> Answer | None:
    """Ask the agent behind one socket. None when its process is gone.

    Raises ProbeError when it lives and does not answer, or answers that it cannot.
    """
    deadline = time.monotonic() + patience
    give_up = time.monotonic() + GONE_PATIENCE
    while True:
        refused = False
        try:
            pid, data = _exchange(path, command, deadline)
        except (FileNotFoundError, ConnectionError) as error:
            pid, data = 0, b""
            refused = not isinstance(error, ConnectionResetError)
        except (TimeoutError, BlockingIOError):
            raise ProbeError(
                f"{path.name}: no answer to {command!r} in {patience:g} s; expected the target to be at rest: "
                "is its interpreter blocked?"
            ) from None
        if data:
            break
        alive = Path(f"/proc/{path.stem.split('-')[1]}").exists()
        if time.monotonic() > give_up or (refused and not alive):
            if alive and not refused:
                raise ProbeError(
                    f"{path.name}: its process lives and says nothing; expected an answer: was it "
                    "started by another user?"
                )
            path.unlink(missing_ok=True)  # nobody listens: dead, or its pid now runs something else
            return None
        time.sleep(RETRY)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise ProbeError(
            f"{path.name}: its answer to {command!r} was cut short; did the target end?"
        ) from None
    if not isinstance(body, dict):
        raise ProbeError(f"{path.name}: answered {str(body)[:60]!r} to {command!r}; expected an object")
    if "error" in body:
        raise ProbeError(f"{path.name}: {command!r} failed inside the target: {body['error']}")
    return Answer(pid, body)


def _exchange(path: Path, command: str, deadline: float) -> tuple[int, bytes]:
    """Peer's pid and its whole answer; raises OSError, TimeoutError at the deadline."""
    parts: list[bytes] = []
    size = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        _connect(connection, path)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", credentials)
        if uid not in (os.geteuid(), 0) and os.geteuid() != 0:
            raise ProbeError(f"{path.name}: answered by user {uid}; expected our own: somebody else made it")
        connection.sendall(command.encode() + b"\n")
        while size <= ANSWER_LIMIT:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            part = connection.recv(1 << 18)
            if not part:
                return pid, b"".join(parts)
            parts.append(part)
            size += len(part)
    raise ProbeError(f"{path.name}: an answer above {ANSWER_LIMIT >> 20} MiB was refused")


def _connect(connection: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= SUN_PATH:
        connection.connect(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def ask_all(
    directory: Path,
    agent: str,
    command: str,
    *,
    among: Container[int] | None = None,
    patience: float = PATIENCE,
) -> list[Answer]:
    """Every live process whose agent of this name listens in the folder, by pid. among: only these pids."""
    paths = [
        path
        for path in sorted(directory.glob(f"{agent}-*.sock"))
        if among is None or int(path.stem.split("-")[1]) in among
    ]
    answers = [ask(path, command, patience=patience) for path in paths]
    return sorted((answer for answer in answers if answer), key=lambda answer: answer.pid)
