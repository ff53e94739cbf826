"""Start the service under test on a port of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.errors import ConfigError
from harness.process.child import Child

PLACEHOLDER = "{port}"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on now. Another process may still take it first; the
    service then says so in its log and the run ends as infrastructure, not as a verdict."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def fill_port(text: str, port: int) -> str:
    """Replace ``{port}``; other braces are the user's own."""
    return text.replace(PLACEHOLDER, str(port))


def was_cut(log: Path) -> bool:
    """True when the keeper cut an endless log back to its tail; it says so in the first line."""
    try:
        with log.open("rb") as file:
            return file.read(24).startswith(b"[harness: the log passed")
    except OSError:
        return False


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    port: int,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    nofile: int | None = None,
) -> Child:
    """Start ``command`` with ``{port}`` filled in and ``PORT`` in its environment.

    nofile: RLIMIT_NOFILE of the service (soft and hard). Raises TargetError when it cannot be
    executed, ConfigError when the command is empty.
    """
    if not command:
        raise ConfigError("no command given; expected one after --, such as: -- python app.py --port {port}")
    environment = dict(os.environ if env is None else env)
    environment.setdefault("PORT", str(port))
    return Child.spawn(
        [fill_port(word, port) for word in command],
        log=log,
        name="target",
        env=environment,
        cwd=cwd,
        rlimits={"nofile": nofile} if nofile else None,
    )
