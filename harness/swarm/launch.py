"""The swarm, seen from the experiment: start it, give it cycles, stop it.

Imports neither locust nor gevent: importing them would monkey-patch this process.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import SwarmError
from harness.process.child import Child
from harness.swarm.wire import MAX_LINE, BadMessage, decode, encode, ledger_from_dict, spec_to_dict

START_PATIENCE = 30.0
POLL = 0.05
CANCEL_PATIENCE = 2.5  # the pool looks at its orders every 20 ms; more than this is a hang


class Swarm:
    """A Locust child with one user at the gate. Every method raises SwarmError, with the child's last
    words, when it has died or does not answer.

    host: base URL of the service. directory: where its log goes. stall_after: seconds of silence that
    make a stream stalled. source_addresses: local addresses from which streams are opened in turn.
    """

    def __init__(
        self,
        host: str,
        directory: Path,
        *,
        seed: int,
        stall_after: float = 10.0,
        web_port: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        source_addresses: Sequence[str] = (),
    ) -> None:
        self._spec = {
            "host": host,
            "stall_after": stall_after,
            "headers": list(headers),
            "sources": list(source_addresses),
            "seed": seed,
            "web_port": web_port,
        }
        self._log = directory / "swarm.log"
        self._child: Child | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._private: Path | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def launch(self) -> None:
        """Start the child without waiting for it: importing locust takes a second or two."""
        # Not in the run's folder: a Unix socket's path may have 107 bytes only (unix(7)).
        self._private = Path(tempfile.mkdtemp(prefix="harness-swarm-"))
        path = self._private / "control"
        self._listener = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(mask)
        self._listener.listen(1)
        argv = [sys.executable, "-m", "harness.swarm.child", json.dumps({**self._spec, "control": str(path)})]
        self._child = Child.spawn(argv, log=self._log, name="swarm")

    def wait_ready(self) -> None:
        """Wait until the child has connected and its user stands at the gate."""
        deadline = time.monotonic() + START_PATIENCE
        self._listener.settimeout(POLL)
        while self._socket is None:
            try:
                self._socket, _ = self._listener.accept()
            except TimeoutError:
                self._check(deadline, "start")
        self._socket.settimeout(POLL)
        self._listener.close()
        while not self._message(deadline, "start").get("ready"):
            pass

    def _check(self, deadline: float, doing: str) -> None:
        assert self._child
        if not self._child.alive:
            raise SwarmError(
                f"the swarm died ({self._child.returncode}) during {doing}; its last words: "
                f"{' | '.join(self._child.tail(4)) or 'none'}"
            )
        if time.monotonic() > deadline:
            raise SwarmError(
                f"the swarm did not answer during {doing}; see {self._log.name}; try harness doctor"
            )

    def _message(self, deadline: float, doing: str) -> dict[str, Any]:
        assert self._socket
        while b"\n" not in self._buffer:
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                self._check(deadline, doing)
                if doing == "a cycle":
                    return {}
                continue
            except OSError:
                chunk = b""
            if not chunk:
                if self._child and self._child.wait(1.0):
                    self._check(deadline, doing)
                raise SwarmError(f"the swarm hung up during {doing}; see {self._log.name}")
            self._buffer += chunk
            if len(self._buffer) > 2 * MAX_LINE:
                raise SwarmError(f"the swarm sent a line of more than {MAX_LINE} bytes during {doing}")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = decode(line)
        except BadMessage as error:
            raise SwarmError(f"the swarm sent {error} during {doing}") from None
        if "error" in message:
            raise SwarmError(f"the swarm refused: {message['error']}")
        return message

    def cycle(
        self,
        spec: CycleSpec,
        *,
        progress: Callable[[Ledger], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Ledger:
        """Run one cycle to its end and return what was counted.

        progress is called about ten times a second. Once ``cancelled()`` is true the streams are
        left at once and the partial ledger is returned.
        """
        assert self._socket
        self._socket.sendall(encode({"order": "cycle", "spec": spec_to_dict(spec)}))
        deadline = float("inf")
        asked = False
        while True:
            if not asked and cancelled and cancelled():
                asked = True
                deadline = time.monotonic() + CANCEL_PATIENCE
                self._socket.sendall(encode({"order": "cancel"}))
            message = self._message(deadline, "a cycle")
            try:
                if "ledger" in message:
                    return ledger_from_dict(message["ledger"])
                if progress and "progress" in message:
                    progress(ledger_from_dict(message["progress"]))
            except BadMessage as error:
                raise SwarmError(f"the swarm sent {error}") from None

    def stop(self) -> None:
        """End the child. Idempotent."""
        if self._socket:
            self._socket.close()  # the child ends itself when the conversation ends
        if self._child:
            self._child.stop(0.5)
        if self._private:
            self._listener.close()
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None

    def __enter__(self) -> Swarm:
        self.launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
