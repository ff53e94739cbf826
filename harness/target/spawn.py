"""Starts the service under test on a free port."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.errors import ConfigError
from harness.process.child import Child

PLACEHOLDER = "{port}"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT = 10_000  # the ports below are often those of other services of the machine
MAX_TRIES = 100  # ports tried before the kernel chooses one


def free_port() -> int:
    """A TCP port that nothing listens on now, outside of the range from which the kernel takes ports for outgoing
    connections: clients on the same machine, such as those of another guard, could take one of those before the
    service (ip_local_port_range in ip-sysctl.rst). Another process may still bind it first; the run then ends as
    infrastructure."""
    first, last = _ephemeral_ports()
    others = [port for port in range(LOWEST_PORT, 65536) if not first <= port <= last]
    # At random, because several guards that start at once would otherwise try the same ports. 0 leaves the choice to
    # the kernel.
    for port in (*random.sample(others, min(MAX_TRIES, len(others))), 0):
        with socket.socket(socket.AF_INET) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError("no TCP port of 127.0.0.1 can be bound; expected one that is free")


def _ephemeral_ports() -> tuple[int, int]:
    """The first and the last of the ports from which the kernel takes those of outgoing connections."""
    try:
        first, last = map(int, EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        return 32768, 60999  # the kernel's own default
    return first, last


def fill_port(text: str, port: int) -> str:
    """Replace ``{port}``; other braces are left alone."""
    return text.replace(PLACEHOLDER, str(port))


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
        raise ConfigError(
            "no command given; expected one that starts the service, such as: python app.py {port}"
        )
    environment = dict(os.environ if env is None else env)
    # Many frameworks and buildpacks read the port from there; a PORT that the user set is theirs.
    environment.setdefault("PORT", str(port))
    return Child.spawn(
        [fill_port(word, port) for word in command],
        log=log,
        name="target",
        env=environment,
        cwd=cwd,
        rlimits={"nofile": nofile} if nofile else None,
    )
