"""The swarm, seen from the experiment: start it, let it run cycles, stop it.

Imports neither locust nor gevent: importing them would monkey-patch this process.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.cycle import CycleSpec, Ledger
from harness.core.errors import ConfigError, Interrupted, SwarmError
from harness.process.child import Child
from harness.process.peer import peer_of
from harness.process.private_folder import PrivateFolder
from harness.swarm.load import LoadOptions
from harness.swarm.setup import MIN_SECRET, REMOTE_TIMEOUT, SECRET_VARIABLE, SwarmSetup
from harness.swarm.wire import (
    MAX_LINE,
    BadMessage,
    decode,
    encode,
    error_from_dict,
    outcome_from_dict,
    setup_to_dict,
    spec_to_dict,
)

START_TIMEOUT = 45.0  # seconds; on an idle machine the imports alone take one or two
POLL = 0.05  # seconds between two checks for cancellation
CANCEL_TIMEOUT = 10.0  # seconds: 18,000 streams disconnect in 1.7 on a shared core; more than this is a hang
INTERRUPT_TIMEOUT = 1.5  # seconds, once the user waits for the end of the run
SILENT = 60.0  # seconds without progress, which is due ten times a second: the child hangs
GRACE = 0.5  # seconds between SIGTERM and SIGKILL


def secret_for(load: LoadOptions, given: str = "") -> str:
    """The secret that remote workers must know: the one given, else the environment's; "" without remote workers.
    Raises ConfigError when it is too short."""
    if not load.remote_workers:
        return ""
    secret = given or os.environ.get(SECRET_VARIABLE, "")
    if len(secret) < MIN_SECRET:
        raise ConfigError(
            f"remote workers need a secret, and {SECRET_VARIABLE} has {len(secret)} characters; expected the same "
            f"{MIN_SECRET} or more random characters here and in the environment of every worker"
        )
    return secret


class Swarm:
    """A Locust child whose users wait for cycles. Methods raise SwarmError, with the end of the child's log,
    when it has exited or does not answer.

    setup: what it is started with; without a ``secret``, the one in the environment variable HARNESS_SWARM_SECRET
    counts. directory: where its log goes. Raises ConfigError for remote workers without a secret of 128 bits.
    """

    def __init__(self, setup: SwarmSetup, directory: Path) -> None:
        self._setup = replace(setup, secret=secret_for(setup.load, setup.secret))
        self._log = directory / "swarm.log"
        self._child: Child | None = None
        self._listener: socket.socket | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._private: PrivateFolder | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The child's pid, 0 before its start."""
        return self._child.pid if self._child else 0

    @property
    def control_path(self) -> Path | None:
        """The control socket: 0600 in a directory of its own, 0700."""
        return self._private.path / "control" if self._private else None

    def launch(self) -> None:
        """Start the child without waiting for it: importing locust takes a second or two."""
        # Not in the run's folder, because the path of a Unix socket is limited to 107 bytes (unix(7)).
        self._private = PrivateFolder("swarm")
        path = self._private.path / "control"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(1)
        # -P: the child must import this package even if the working directory contains a module named harness. The
        # package may not be installed, only be on this process's path, so its root goes into PYTHONPATH.
        argv = [sys.executable, "-P", "-m", "harness.swarm.child", str(path)]
        root = str(Path(__file__).resolve().parents[2])
        inherited = os.environ.get("PYTHONPATH")
        env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
        self._child = Child.spawn(argv, log=self._log, name="swarm", env=env)

    def wait_ready(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until the child is ready for cycles. Raises ConfigError for an invalid setup, Interrupted
        once ``cancelled()``."""
        if self._socket is not None:
            return
        assert self._listener is not None
        deadline = time.monotonic() + START_TIMEOUT
        self._listener.settimeout(POLL)
        while self._socket is None:
            try:
                peer, _ = self._listener.accept()
            except TimeoutError:
                self._check(deadline, "start", cancelled)
                continue
            if self._child and peer_of(peer)[0] == self._child.pid:
                self._socket = peer
            else:
                peer.close()  # not the process that this run started
        self._socket.settimeout(POLL)
        self._listener.close()
        while "hello" not in self._message(deadline, "start", cancelled=cancelled):
            pass
        self._send({"order": "setup", "setup": setup_to_dict(self._setup)}, "start")
        if self._setup.load.remote_workers:
            # Longer than the child itself waits, because it reports which workers are missing.
            deadline = time.monotonic() + REMOTE_TIMEOUT + START_TIMEOUT
        while not self._message(deadline, "start", cancelled=cancelled).get("ready"):
            pass

    def _log_tail(self) -> str:
        return " | ".join(self._child.tail(4)) if self._child else ""

    def _check(self, deadline: float, doing: str, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Raise SwarmError when the child has exited or the deadline has passed, Interrupted when it was cancelled.
        doing: what the child was asked for, for the error. deadline: by the monotonic clock."""
        assert self._child
        if not self._child.alive:
            why = self._child.lost or self._child.returncode
            raise SwarmError(
                f"the load generator exited ({why}) during {doing}; its log ends: {self._log_tail() or 'none'}"
            )
        if cancelled():
            raise Interrupted(f"stopped during the {doing} of the load generator")
        if time.monotonic() > deadline:
            raise SwarmError(
                f"the swarm did not answer during {doing}; see {self._log.name}; try harness doctor"
            )

    def _send(self, message: dict[str, Any], doing: str) -> None:
        assert self._socket
        try:
            self._socket.sendall(encode(message))
        except OSError as error:
            self._raise_closed(doing, error)

    def _raise_closed(self, doing: str, error: OSError | None = None) -> None:
        """Raise SwarmError for a control connection that the child has closed. doing: what it was asked for."""
        # The exit code says more than the closed connection, and becomes known a moment later.
        if self._child and self._child.wait(1.0):
            self._check(float("inf"), doing)
        why = f" ({error.strerror})" if error else ""
        raise SwarmError(
            f"the load generator closed its control connection during {doing}{why}; its log ends: {self._log_tail()}"
        )

    def _message(
        self,
        deadline: float,
        doing: str,
        *,
        once: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """The next message; with ``once``, an empty one when none comes within POLL seconds."""
        assert self._socket
        while b"\n" not in self._buffer:
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                self._check(deadline, doing, cancelled)
                if once:
                    return {}
                continue
            except OSError:
                chunk = b""
            if not chunk:
                self._raise_closed(doing)
            self._buffer += chunk
            # Checked while reading, because a line without an end would fill the memory before it could be refused.
            if len(self._buffer) > 2 * MAX_LINE:
                raise SwarmError(f"the swarm sent a line of more than {MAX_LINE} bytes during {doing}")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = decode(line)
        except BadMessage as error:
            raise SwarmError(f"the swarm sent {error} during {doing}") from None
        if "error" in message:
            raise error_from_dict(message)
        return message

    def cycle(
        self,
        spec: CycleSpec,
        *,
        progress: Callable[[Ledger], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        interrupted: Callable[[], bool] | None = None,
    ) -> Ledger:
        """Run one cycle to its end and return what was counted.

        progress is called about ten times a second. Once ``cancelled()`` is true the streams disconnect at once and
        the partial ledger is returned. interrupted: whether the user has interrupted the run, and waits for its end:
        then a cancelled swarm that does not stop within INTERRUPT_TIMEOUT is a SwarmError.
        """
        self.wait_ready()
        self._send({"order": "cycle", "spec": spec_to_dict(spec)}, "a cycle")
        deadline = float("inf")
        cancel_sent = timeout_shortened = False
        last_message = time.monotonic()
        silent = SILENT + (0.0 if spec.connections else spec.dwell)  # an idle cycle reports no progress
        while True:
            if not cancel_sent and cancelled and cancelled():
                cancel_sent = True
                deadline = time.monotonic() + CANCEL_TIMEOUT
                self._send({"order": "cancel"}, "a cycle")
            if cancel_sent and not timeout_shortened and interrupted and interrupted():
                timeout_shortened = True
                deadline = min(deadline, time.monotonic() + INTERRUPT_TIMEOUT)
            message = self._message(deadline, "a cycle", once=True)
            if message:
                last_message = time.monotonic()
            elif time.monotonic() - last_message > silent:
                raise SwarmError(
                    f"the load generator sent no progress for {silent:g} s during a cycle; expected it ten times a "
                    f"second; its log ends: {self._log_tail() or 'none'}; see {self._log.name}"
                )
            try:
                if "outcome" in message:
                    return outcome_from_dict(message["outcome"]).ledger
                if progress and "progress" in message:
                    progress(outcome_from_dict(message["progress"]).ledger)
            except BadMessage as error:
                raise SwarmError(f"the swarm sent {error}") from None

    def stop(self) -> None:
        """End the child. Idempotent."""
        if self._socket:
            self._socket.close()  # the child exits when the control connection closes
        if self._child:
            # The closed connection ends a healthy child; the signal is for one that hangs.
            self._child.stop(GRACE)
        if self._listener:
            self._listener.close()
        if self._private:
            self._private.close()
            self._private = None

    def __enter__(self) -> Swarm:
        self.launch()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
