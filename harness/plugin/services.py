"""Services of the harness for tests of other programs: the fake broker and the reference service."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import TargetError
from harness.experiment.broker import Broker, BrokerSetup
from harness.process.child import Child
from harness.target.ready import last_lines, wait_ready
from harness.target.spawn import free_port

START_TIMEOUT = 30.0  # seconds until a reference service must be ready


@dataclass(frozen=True, slots=True)
class ReferenceService:
    """A running reference service. url: its origin, no slash at the end. broker: the one it asks."""

    url: str
    pid: int
    broker: Broker
    process: Child

    def stream(self, path: str = "/dashboard/sse") -> str:
        """The URL of a stream: ``/dashboard/sse`` or ``/system/status/sse``."""
        return self.url + path


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """A fake broker that answers for the services state, identity and app. Raises BrokerError."""
    with Broker.start(BrokerSetup(), log=folder / "broker.log", seed=0) as started:
        yield started


class ReferenceServices:
    """Starts reference services, each with a broker of its own, and stops them at the end of the test."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder, self._started = stack, folder, 0

    def __call__(self, profile: str = "fixed", *arguments: str) -> ReferenceService:
        """Start one. profile: ``reference-service --list`` names them. arguments: more of its options.

        Raises TargetError, with the end of its log, when it does not become ready.
        """
        self._started += 1
        folder = self._folder / f"reference-{self._started}"
        folder.mkdir()
        peer = self._stack.enter_context(broker(folder))
        port = free_port()
        # -P keeps the working directory of the tests out of sys.path: a module in it may have the name of one in use
        # here.
        command = [sys.executable, "-P", "-m", "harness.reference", "--profile", profile, "--port", str(port)]
        process = Child.spawn(
            [*command, "--broker", peer.endpoint, *arguments],
            log=folder / "reference.log",
            name="reference service",
            env=dict(os.environ),
        )
        self._stack.callback(process.stop)
        url = f"http://127.0.0.1:{port}"
        wait_ready(url, process, timeout=START_TIMEOUT)
        # What answered may have been another process on the same port.
        if not process.alive:
            raise TargetError(f"the reference service exited at once{last_lines(process)}")
        return ReferenceService(url, process.pid, peer, process)
