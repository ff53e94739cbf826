"""An additional load generator: ``python -m harness.swarm.worker MASTER:PORT``, on this machine or another.
HARNESS_SWARM_SECRET in its environment must be the secret of the master.

It joins as a Locust worker and learns everything else from the master.
"""

from __future__ import annotations

from harness.swarm.patching import finish_imports, patch_before_imports

# Before every other import, because gevent cannot patch what a module has imported already.
patch_before_imports()

import argparse  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from locust.env import Environment  # noqa: E402
from locust.log import setup_logging  # noqa: E402

from harness.core.errors import ConfigError  # noqa: E402
from harness.swarm.cycle_queue import CycleQueue, cycle_user  # noqa: E402
from harness.swarm.limits import check_limit, raise_limit  # noqa: E402
from harness.swarm.setup import MIN_SECRET, SECRET_VARIABLE  # noqa: E402
from harness.swarm.statistics import STATISTICS, Statistics  # noqa: E402
from harness.swarm.transport import install  # noqa: E402
from harness.swarm.wire import BadMessage, outcome_to_dict, setup_from_dict, spec_from_dict  # noqa: E402

finish_imports()
REMINDER = 2.0  # seconds after which a worker reports that it waits for its master


class WorkerSide:
    """Answers the master's custom messages."""

    def __init__(self, runner: Any, cycles: CycleQueue, environment: Environment) -> None:
        self._runner, self._cycles, self._environment = runner, cycles, environment
        self._cancelled = False
        runner.register_message("harness-setup", self._setup)
        runner.register_message("harness-cycle", self._cycle, concurrent=True)
        runner.register_message("harness-cancel", self._cancel)
        self._send("hello", {"pid": os.getpid(), "host": socket.gethostname()})

    def _send(self, name: str, data: Any) -> None:
        self._runner.send_message(f"harness-{name}", data)

    def _setup(self, msg: Any, **_: Any) -> None:
        try:
            setup = setup_from_dict(msg.data)
            statistics = STATISTICS[self._environment] = Statistics(self._environment)
            self._cycles.prepare(setup, statistics)
        except (BadMessage, ConfigError) as error:
            self._send("error", str(error))
        else:
            self._send("prepared", {})

    def _cancel(self, **_: Any) -> None:
        self._cancelled = True

    def _cycle(self, msg: Any, **_: Any) -> None:
        data = msg.data if isinstance(msg.data, dict) else {}
        number = data.get("number")
        self._cancelled = False
        try:
            spec = spec_from_dict(data.get("spec"))
            check_limit(spec.concurrency)
            outcome = self._cycles.run(
                spec,
                lambda: self._cancelled,
                lambda now: self._send("progress", {"number": number, "outcome": outcome_to_dict(now)}),
            )
        except (BadMessage, ConfigError) as error:
            self._send("error", str(error))
        except Exception as error:  # without an answer the master would wait for ever
            self._send("error", f"{type(error).__name__}: {error}")
        else:
            self._send("outcome", {"number": number, "outcome": outcome_to_dict(outcome)})


def _master_endpoint(text: str) -> str:
    """The endpoint of a master: ``ipc://PATH`` as it is, HOST:PORT over TCP."""
    if text.startswith("ipc://"):
        return text
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r}; expected MASTER:PORT, such as 10.1.0.1:5557")
    host = host.strip("[]")
    try:
        socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{text!r}: {why}; expected MASTER:PORT") from None
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def main() -> None:
    """Join the master that the command line names, and run its cycles until it exits."""
    parser = argparse.ArgumentParser(prog="python -m harness.swarm.worker", description=__doc__)
    parser.add_argument("master", type=_master_endpoint, metavar="MASTER:PORT")
    endpoint = parser.parse_args().master
    # Removed, so that nothing this process starts inherits the secret.
    secret = os.environ.pop(SECRET_VARIABLE, "")
    if len(secret) < MIN_SECRET:
        parser.error(
            f"{SECRET_VARIABLE} has {len(secret)} characters; expected the secret of the master, {MIN_SECRET} or more"
        )
    setup_logging("WARNING")  # type: ignore[no-untyped-call]
    # Each stream needs a descriptor, and the soft limit is often 1,024.
    raise_limit()
    cycles = CycleQueue()
    environment = Environment(user_classes=[cycle_user(cycles)])
    reminder = gevent.spawn_later(
        REMINDER,
        print,
        f"waiting: no master answers at {endpoint}, or its secret is a different one",
        file=sys.stderr,
    )
    install([endpoint], secret)
    runner = environment.create_worker_runner("", 0)
    reminder.kill()
    WorkerSide(runner, cycles, environment)
    runner.greenlet.join()


if __name__ == "__main__":
    main()
