"""The swarm process: Locust as a library, with one user that runs cycles. Orders arrive over a Unix socket.

Run as ``python -m harness.swarm.child SOCKET`` by ``launch``. Its setup comes over the socket, not as
arguments: headers may carry credentials, and arguments are public.
"""

from __future__ import annotations

from harness.swarm.patching import finish_imports, patch_before_imports

# Before every other import, because gevent cannot patch what a module has imported already.
patch_before_imports()

import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import gevent.lock  # noqa: E402
import gevent.socket  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.exception import RPCError  # noqa: E402
from locust.log import setup_logging  # noqa: E402

from harness.core.cycle import CycleSpec  # noqa: E402
from harness.core.errors import ConfigError, HarnessError, SwarmError  # noqa: E402
from harness.swarm.cycle_queue import CycleQueue, cycle_user  # noqa: E402
from harness.swarm.limits import check_limit, raise_limit  # noqa: E402
from harness.swarm.own_users import OwnUsers  # noqa: E402
from harness.swarm.setup import SwarmSetup  # noqa: E402
from harness.swarm.statistics import STATISTICS, Statistics  # noqa: E402
from harness.swarm.tally import Outcome  # noqa: E402
from harness.swarm.transport import install, new_secret  # noqa: E402
from harness.swarm.wire import (  # noqa: E402
    MAX_LINE,
    BadMessage,
    decode,
    encode,
    error_to_dict,
    outcome_to_dict,
    setup_from_dict,
    spec_from_dict,
)
from harness.swarm.worker_group import WorkerGroup  # noqa: E402

finish_imports()
logger = logging.getLogger(__name__)
RunCycle = Callable[[CycleSpec, Callable[[], bool], Callable[[Outcome], None]], Outcome]
"""Runs one cycle. Arguments: the cycle, whether it was cancelled, and what is called with the outcome so far."""


class Control:
    """The control connection to the experiment; the swarm ends when it closes."""

    def __init__(self, path: str) -> None:
        self._socket = gevent.socket.socket(gevent.socket.AF_UNIX)
        self._socket.connect(path)
        self._start: Callable[[SwarmSetup], RunCycle] | None = None
        self._run: RunCycle | None = None
        self._cancelled = False
        self._busy = False
        self._sending = gevent.lock.RLock()  # progress and errors come from different greenlets

    def send(self, **message: object) -> None:
        """Send one message to the experiment; do nothing once it has exited."""
        try:
            with self._sending:
                self._socket.sendall(encode(message))
        except OSError:
            pass

    def serve(self, start: Callable[[SwarmSetup], RunCycle]) -> None:
        """Take orders until ``stop`` or the end of the connection."""
        self._start = start
        self.send(hello=os.getpid())
        buffer = b""
        while chunk := self._socket.recv(65536):
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                if self._carry_out(line):
                    return
            if len(buffer) > MAX_LINE:
                self.send(error=f"a line of more than {MAX_LINE} bytes")
                return

    def _carry_out(self, line: bytes) -> bool:
        """Carry out one order; True when it was ``stop``."""
        try:
            message = decode(line)
            order = message.get("order")
            if order == "stop":
                return True
            if order == "cancel":
                self._cancelled = True
            elif order == "setup" and self._run is None and self._start is not None:
                self._run = self._start(setup_from_dict(message.get("setup")))
                self.send(ready=True)
            elif order == "cycle" and self._run is not None and not self._busy:
                spec = spec_from_dict(message.get("spec"))
                self._cancelled, self._busy = False, True
                # In a greenlet of its own, so that ``cancel`` can be read while the cycle runs.
                gevent.spawn(self._cycle, spec)
            else:
                state = "busy" if self._busy else "idle" if self._run else "not set up"
                raise BadMessage(f"order is {order!r} ({state}); expected setup, cycle, cancel or stop")
        except (BadMessage, HarnessError) as error:
            self.send(**error_to_dict(error))
        return False

    def _cycle(self, spec: CycleSpec) -> None:
        assert self._run is not None
        try:
            outcome = self._run(
                spec, lambda: self._cancelled, lambda now: self.send(progress=outcome_to_dict(now))
            )
        # In each case the cycle is over before its answer is sent: the experiment may order the next one at once.
        except HarnessError as error:
            self._busy = False
            self.send(error=str(error))
        except Exception as error:  # without an answer the experiment would wait for ever
            self._busy = False
            logger.exception("a cycle failed")
            self.send(error=f"{type(error).__name__}: {error}")
        else:
            self._busy = False
            if outcome.ledger.saturated:
                logger.warning("; ".join(note.text for note in outcome.ledger.notes))
            self.send(outcome=outcome_to_dict(outcome))


class SwarmProcess:
    """Locust's environment and runner for one setup."""

    def __init__(self, private: Path) -> None:
        """private: a folder (0700) for the socket of this machine's workers."""
        self.runner: Any = None
        self._workers = f"ipc://{private / 'workers'}"

    def start(self, setup: SwarmSetup) -> RunCycle:
        """Prepare everything and return the function that runs a cycle. Raises ConfigError or SwarmError."""
        if setup.load.locustfile:
            own_users = OwnUsers(setup.load.locustfile, setup.host)
            self.runner = own_users.runner
            return _with_limit_check(own_users.cycle)
        cycles = CycleQueue()
        environment = Environment(user_classes=[cycle_user(cycles)], host=setup.host)
        if setup.distributed:
            setup = replace(setup, secret=setup.secret or new_secret())
            self.runner = _master(environment, self._workers, setup)
        else:
            self.runner = environment.create_local_runner()
        if setup.web_port is not None:
            _check_free(setup.web_port)
            # Delayed, because Flask accepts no further pages once it has served its first request.
            web = environment.create_web_ui("127.0.0.1", setup.web_port, delayed_start=True)
            from harness.swarm.web import attach  # imports Flask and the probe, which only the web UI needs

            attach(environment, target_pid=setup.target_pid, read_only=True)
            web.start()  # type: ignore[no-untyped-call]
        if setup.distributed:
            group = WorkerGroup(self.runner, setup, self._workers)
            group.gather()
            return group.cycle
        statistics = STATISTICS[environment] = Statistics(environment)
        cycles.prepare(setup, statistics)
        # One user runs every cycle; the streams are not users (harness.swarm.cycle_queue).
        self.runner.start(1, spawn_rate=1)
        return _with_limit_check(cycles.run)


def _master(environment: Environment, workers: str, setup: SwarmSetup) -> Any:
    """The master runner. It listens on TCP only where ``bind`` says so, or remote workers are expected."""
    bind = setup.load.bind
    endpoints = [workers]
    host, _, port = (bind or "127.0.0.1:0").rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ConfigError(f"bind {bind!r}; expected HOST:PORT, such as 10.1.0.1:5557")
    if bind or setup.load.remote_workers:
        endpoints.append(f"tcp://{host}:{port}")
    install(endpoints, setup.secret)
    try:
        return environment.create_master_runner(host, int(port))
    except RPCError as error:
        raise SwarmError(
            f"bind {bind!r}: {error}; expected an address of this machine, and a free port"
        ) from None


def _check_free(port: int) -> None:
    """Raise SwarmError for a port that is taken: Locust itself would only log it."""
    try:
        # Another process can still take the port before Locust binds it; that error is then only in Locust's log.
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise SwarmError(f"web port {port}: {os.strerror(error.errno or 0)}; choose a free one") from None


def _with_limit_check(run: RunCycle) -> RunCycle:
    """The same, and it raises ConfigError for a cycle that needs more descriptors than this process may have."""

    def checked(
        spec: CycleSpec, cancelled: Callable[[], bool], progress: Callable[[Outcome], None]
    ) -> Outcome:
        check_limit(spec.concurrency)
        return run(spec, cancelled, progress)

    return checked


def main() -> None:
    """Connect to the experiment's socket, and carry out its orders until it closes."""
    setup_logging("WARNING")  # type: ignore[no-untyped-call]
    # Each stream needs a descriptor, and the soft limit is often 1,024.
    raise_limit()
    process = SwarmProcess(Path(sys.argv[1]).parent)
    try:
        Control(sys.argv[1]).serve(process.start)
    except ConfigError as error:
        logger.error(error)
        sys.exit(error.exit_code)
    finally:
        if process.runner is not None:
            process.runner.quit()


if __name__ == "__main__":
    main()
