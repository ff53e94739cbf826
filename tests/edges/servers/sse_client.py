"""The test's side of ``sse_driver``: call a function with a real ``SseUser`` in a process that may import locust."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
DEADLINE = 30.0


@dataclass
class Answer:
    """What the function returned, or why its stream failed; and Locust's statistics afterwards.

    entries: ``"METHOD name" -> [requests, failures, average ms]``. errors: ``"METHOD name: text" -> count``.
    """

    value: Any
    failed: str | None
    status: int
    entries: dict[str, list[float]]
    errors: dict[str, int]
    total: int


class Driver:
    """Runs calls one after the other in one child process."""

    def __init__(self, control: socket.socket, child: subprocess.Popen[bytes]) -> None:
        self._lines = control.makefile("rwb")
        self._child = child

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def __call__(
        self,
        function: Callable[..., Any],
        host: str,
        *arguments: Any,
        options: dict[str, Any] | None = None,
    ) -> Answer:
        """Run ``function(user, *arguments)`` there, its user at ``host``. options: of Locust's command line."""
        order = {
            "module": function.__module__,
            "function": function.__name__,
            "host": host,
            "options": options or {},
            "arguments": arguments,
        }
        self._lines.write(json.dumps(order).encode() + b"\n")
        self._lines.flush()
        line = self._lines.readline()
        assert line, f"the driver died: {self._child.poll()}"
        answer = json.loads(line)
        assert "raised" not in answer, answer["raised"]
        return Answer(
            answer.get("value"),
            answer.get("failed"),
            answer.get("status", 0),
            answer["entries"],
            answer["errors"],
            answer["total"],
        )


@contextlib.contextmanager
def driver() -> Iterator[Driver]:
    """One child, for as many calls as wanted."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.edges.servers.sse_driver", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
    with child, ours:
        found = Driver(ours, child)
        try:
            yield found
        finally:
            found._lines.close()
            ours.close()
            try:
                child.wait(5.0)
            except subprocess.TimeoutExpired:
                child.kill()


def certificate(folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, Path]:
    """A certificate for these names that is its own authority, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    what = [
        "-subj",
        "/CN=localhost",
        "-addext",
        f"subjectAltName={names}",
        "-out",
        str(cert),
        "-keyout",
        str(key),
    ]
    subprocess.run(["openssl", "req", "-x509", *kind, *what], check=True, capture_output=True)
    return cert, key


def secured(folder: Path, **names: str) -> tuple[Path, ssl.SSLContext]:
    """The same certificate, and a server's context that shows it."""
    cert, key = certificate(folder, **names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
