"""Attaching to a Node process that already runs with ``--inspect``: the agent is loaded over its inspector.

One request over one WebSocket (RFC 6455) on the loopback, then the agent listens on its private socket like any other.
The harness opens no inspector port itself: the user who starts the service decides whether it has one.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shlex
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from harness.core.errors import ProbeError
from harness.process.listeners import users_on
from harness.process.proc import arguments, environment, users_of_tree
from harness.runtime import channel
from harness.runtime.attach import why_not_attachable

DEFAULT_PORT = 9229  # of Node's inspector, where --inspect names none
TIMEOUT = 5.0  # seconds for each answer
LIMIT = 1 << 20  # bytes of an answer
HINT = "start it with --inspect, or let the harness start it: pass its command after --"
_OPTION = re.compile(r"--inspect(?:-brk|-wait|-port)?(?:=(?:(?:127\.0\.0\.1|localhost|\[::1\]):)?(\d{1,5}))?")
# ``require`` is part of the command line API, which works for modules of either kind. The agent reads the folder once.
LOAD = """(() => {{
  process.env.{name} = {directory}
  try {{ require({agent}) }} finally {{ delete process.env.{name} }}
}})()"""


def has_agent(pid: int) -> bool:
    """Whether a process was started with the agent's folder in its environment."""
    found = environment(pid)
    return found is None or channel.DIRECTORY in found


def attach(pid: int, directory: Path, agent: Path) -> str:
    """Load ``agent`` into the Node ``pid``. Returns "" once it is loaded, else why it cannot be.

    Raises ProbeError when ``directory`` is open to others.
    """
    # The inspector executes any code, so the same rules hold as for Python.
    if why := why_not_attachable(pid):
        return why
    port = port_of(pid)
    if port is None:
        return f"was started without the agent; {HINT}"
    other_users = users_on(port) - users_of_tree(pid)
    if other_users:
        return f"has an inspector on port {port} that belongs to user {min(other_users)}; {HINT}"
    folder = channel.private_folder(directory).resolve()
    expression = LOAD.format(
        name=channel.DIRECTORY, directory=json.dumps(str(folder)), agent=json.dumps(str(agent.resolve()))
    )
    try:
        _evaluate(_address(port, pid), expression)
    except (OSError, ValueError, http.client.HTTPException, LookupError, TypeError) as error:
        what = f"{type(error).__name__}: {str(error)[:100]}"
        return f"has an inspector on port {port} that does not answer ({what}); {HINT}"
    return ""


def port_of(pid: int) -> int | None:
    """The inspector's port by the options of a process; None when it has none."""
    options = [word for word in arguments(pid)[1:] if word.startswith("--inspect")]
    try:
        options += shlex.split((environment(pid) or {}).get("NODE_OPTIONS", ""))
    except ValueError:
        pass
    matches = [match for word in options if (match := _OPTION.fullmatch(word))]
    if not matches:
        return None
    return next((int(match[1]) for match in matches if match[1]), DEFAULT_PORT) or None


def _address(port: int, pid: int) -> str:
    """Path of the WebSocket of the process's main context."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/json/list")
        pages = json.loads(connection.getresponse().read(LIMIT))
    finally:
        connection.close()
    if not pages:
        raise LookupError(f"process {pid} has no context")
    url = urlsplit(str(pages[0]["webSocketDebuggerUrl"]))
    return f"127.0.0.1:{port}{url.path}"


def _evaluate(address: str, expression: str) -> None:
    """Evaluate the expression in the service. Raises ValueError with the message of its exception."""
    host, _, path = address.partition("/")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=TIMEOUT) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        rest = _head(connection)
        parameters = {"expression": expression, "includeCommandLineAPI": True, "silent": True}
        order = {"id": 1, "method": "Runtime.evaluate", "params": parameters}
        connection.sendall(_frame(json.dumps(order).encode()))
        for text in _texts(connection, rest):
            answer = json.loads(text)
            # The inspector may send events before the response; they have no id.
            if answer.get("id") != 1:
                continue
            thrown = answer.get("error") or answer["result"].get("exceptionDetails")
            if thrown:
                raise ValueError(str(thrown.get("exception", thrown).get("description", thrown))[:200])
            return


def _head(connection: socket.socket) -> bytes:
    """Read the response's head. Returns the bytes that follow it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(4096)
        if not part or len(data) > LIMIT:
            raise ValueError("no WebSocket")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0] + b" ":
        raise ValueError(head.split(b"\r\n")[0].decode(errors="replace")[:80])
    return rest


def _frame(payload: bytes) -> bytes:
    """One masked text frame (RFC 6455, 5.2)."""
    size = len(payload)
    # The 64-bit length is left out: an order is far below 64 KiB.
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    # A client must mask its frames, with a mask that the peer cannot predict (RFC 6455, 5.3).
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def _texts(connection: socket.socket, data: bytes) -> Iterator[bytes]:
    """Payloads of the frames that arrive. Node sends no fragmented ones (RFC 6455, 5.4)."""
    while True:
        while (found := _payload(data)) is None:
            part = connection.recv(65536)
            if not part or len(data) > LIMIT:
                raise ProbeError("the inspector closed the connection")
            data += part
        text, data = found
        yield text


def _payload(data: bytes) -> tuple[bytes, bytes] | None:
    """The first frame's payload and what follows it; None while it is incomplete."""
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, start = int.from_bytes(data[2:10], "big"), 10
    if len(data) < start + size:
        return None
    return data[start : start + size], data[start + size :]
