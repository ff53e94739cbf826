"""Whether the loopback interface works: without it no local service can be reached."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from harness.core.errors import ProbeError

ADDRESS = "127.0.0.1"
TIMEOUT = 2.0  # seconds


def check_loopback(url: str) -> None:
    """Raise ProbeError when ``url`` is on the loopback interface and that interface is down."""
    host = urlsplit(url).hostname or ""
    if not (host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")):
        return
    try:
        with socket.socket() as listener:
            listener.bind((ADDRESS, 0))
            listener.listen(1)
            socket.create_connection(listener.getsockname(), timeout=TIMEOUT).close()
    except OSError as error:
        raise ProbeError(
            f"the loopback interface does not work: {ADDRESS}: {error.strerror or error}; bring it up: "
            "ip link set lo up"
        ) from None
