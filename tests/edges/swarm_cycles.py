"""A swarm, and a server that counts independently, for the tests of whole cycles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.core.cycle import CycleSpec, Ledger
from harness.swarm.launch import Swarm
from harness.swarm.load import LoadOptions
from harness.swarm.setup import SwarmSetup
from tests.edges.servers.counting_server import Count, CountingServer


def spec(connections: int, concurrency: int = 10, **more: Any) -> CycleSpec:
    """A cycle of three events a stream, unless told otherwise."""
    given: dict[str, Any] = {"dwell": 20.0, "events": 3, "paths": ("/a",), **more}
    return CycleSpec(0, connections, concurrency, **given)


def swarm_of(url: str, folder: Path, *, stall_after: float = 10.0, **options: Any) -> Swarm:
    """A swarm that is not started. options: fields of its setup, and of its load."""
    names = {one.name for one in fields(SwarmSetup)}
    load = {name: value for name, value in options.items() if name not in names}
    setup = {name: value for name, value in options.items() if name in names}
    return Swarm(SwarmSetup(url, LoadOptions(seed=1, stall_after=stall_after, **load), **setup), folder)


@contextmanager
def swarm_at(server: CountingServer, folder: Path, **options: Any) -> Iterator[Swarm]:
    """A swarm that is ready; the server knows its processes."""
    with swarm_of(server.url, folder, **options) as found:
        found.wait_ready()
        server.clients = lambda: workers_of(found.pid) or [found.pid]
        try:
            yield found
        finally:
            server.clients = tuple


def workers_of(pid: int) -> list[int]:
    """The worker processes of a swarm."""
    found = []
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"harness.swarm.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    except OSError:  # it is ending
        pass
    return found


def agree(ledger: Ledger, server: CountingServer) -> Count:
    """Assert that the ledger and the server's own counts are equal."""
    count = server.settle(ledger.opened)
    assert ledger.opened == count.accepted
    assert ledger.by_path == dict(count.by_path)
    assert ledger.by_mode == dict(count.by_end)
    assert (ledger.events, ledger.comments, ledger.bytes) == (count.events, count.comments, count.bytes)
    assert ledger.open_now == count.open == 0
    return count
