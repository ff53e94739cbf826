"""Invalid answers of a target are neither a reading nor a traceback."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.errors import ProbeError
from harness.runtime.counters import Unavailable
from harness.runtime.node import NodeCounters
from harness.runtime.python import PythonCounters

WHOLE = {
    "objects": 1,
    "blocks": 1,
    "heap_bytes": 1,
    "asyncio_tasks": 1,
    "greenlets": 1,
    "threads": {},
    "collected": True,
}
GARBAGE = {
    "number": b"3",
    "list": b"[]",
    "nothing": b"{}",
    "binary": b"\x00\xff",
    "deep": b"[" * 200_000,
    "text": json.dumps({**WHOLE, "objects": "many"}).encode(),
    "object": json.dumps({**WHOLE, "blocks": {}}).encode(),
    "threads": json.dumps({**WHOLE, "threads": 3}).encode(),
    "nan": json.dumps({**WHOLE, "objects": float("nan")}).encode(),
    "negative": json.dumps({**WHOLE, "objects": -5}).encode(),
    "huge": json.dumps({**WHOLE, "objects": 10**400}).encode(),
}


@contextmanager
def answering(path: Path, says: bytes) -> Iterator[None]:
    """A server that sends ``says`` to every client."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)  # of one that is open to others nothing is read
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(256)
                    try:
                        connection.sendall(says)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def fast() -> float:
    """A clock by which the five seconds that a reader gives an agent to start are half a second."""
    return 10 * time.monotonic()


@pytest.mark.parametrize("says", GARBAGE.values(), ids=GARBAGE)
def test_an_answer_that_is_invalid_is_no_reading(says: bytes, tmp_path: Path) -> None:
    pid = os.getpid()
    with answering(tmp_path / f"python-{pid}.sock", says), answering(tmp_path / f"node-{pid}-0.sock", says):
        for reader in (PythonCounters(tmp_path, pid, clock=fast), NodeCounters(tmp_path, pid, clock=fast)):
            found = reader.probe()
            assert isinstance(found, Unavailable), found
            # It is the answer that was refused, not the socket.
            with pytest.raises(ProbeError, match=r"answered|its answer to"):
                reader.read()
            with pytest.raises(ProbeError, match=r"answered|its answer to"):
                reader.attribute(lambda: 300)
