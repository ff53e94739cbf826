"""The fake broker as a child process, and the requests that the harness sends it while it runs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from harness.core.cycle import BrokerCount, CycleSpec
from harness.core.errors import BrokerError, OptionError
from harness.core.units import counted
from harness.process.child import Child
from harness.process.private_folder import PrivateFolder

START_TIMEOUT = 15.0  # seconds
ANSWER_TIMEOUT = 15.0  # seconds
CANCELLED_TIMEOUT = 1.0  # seconds, once the user has stopped the run
POLL_MS = 50  # milliseconds between two checks whether the broker still runs, or the run was stopped
# Fields of a fault in the broker's counters; the others are its parameters.
NOT_PARAMETERS = ("id", "fault", "seen", "fired")
SERVICES = ("state", "identity", "app")  # for which the broker answers by itself


def needs_proxy(dialect: str, faults: Sequence[str]) -> bool:
    """Whether one of these faults needs the TCP proxy. Raises ConfigError for a fault that the broker would refuse."""
    if not faults:
        return False
    # Imported late, like ZeroMQ below: most guards have no broker, and the imports take a tenth of their start-up time.
    from fake_broker.chain import Chain
    from fake_broker.dialects import DIALECTS
    from fake_broker.spec import SpecError, parse_words

    chain, proxied = Chain(DIALECTS[dialect], Random(0), proxied=True), False
    for text in faults:
        try:
            spec = parse_words(text)
            chain.add(spec, 0.0)
        except SpecError as error:
            raise OptionError("broker_faults", text, f"{error}; the command fake-broker lists them") from None
        proxied = proxied or spec.fault.needs_proxy
    return proxied


@dataclass(frozen=True, slots=True)
class BrokerSetup:
    """The behaviour of the broker of a trial. behaviour: ``answering``, ``silent`` from the first
    load on, or ``flapping`` (silent in every second cycle). faults: on from the broker's start, as for ``fake-broker
    --fault``. proxied: a TCP proxy in front, for faults of the transport."""

    dialect: str = "plantd"
    services: tuple[str, ...] = SERVICES
    behaviour: str = "answering"
    faults: tuple[str, ...] = ()
    proxied: bool = False
    bind: str = "tcp://127.0.0.1:0"

    def silent_in(self, step: CycleSpec) -> bool:
        """Whether the broker answers nothing in this cycle."""
        flaps = self.behaviour == "flapping" and step.index % 2 == 1
        return self.behaviour == "silent" or flaps or step.fault == "silence"


class Broker:
    """One fake broker. Every method raises BrokerError when it does not answer in time.

    cancelled: whether the run was stopped, so that waiting is pointless."""

    def __init__(
        self,
        child: Child,
        endpoint: str,
        control: str,
        *,
        private: PrivateFolder | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """control: the endpoint for requests. private: the folder of its socket, removed at the end."""
        self.child = child
        self._private = private
        self._cancelled = cancelled
        self.endpoint = endpoint
        self._control = control
        import zmq

        self._context = zmq.Context()
        self._counted = {"requests": 0, "replies": 0, "unanswered": 0}

    @classmethod
    def start(
        cls,
        setup: BrokerSetup,
        *,
        log: Path,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Broker:
        """Start the broker and wait for the line with its endpoints. Requests use a Unix socket in a private folder, so
        that no other local user can switch faults or read counters."""
        try:
            private = PrivateFolder("broker")
        except OSError as error:
            raise BrokerError(
                f"no private folder for the broker's control socket: {error.strerror}; set TMPDIR"
            ) from None
        services = [word for service in setup.services for word in ("--service", service)]
        child = Child.spawn(
            [
                # -P: a module named fake_broker in the working directory must not be imported instead.
                *(sys.executable, "-P", "-m", "fake_broker", "--json-ready", "--bind", setup.bind),
                *("--control", f"ipc://{private.path / 'control'}"),
                *("--dialect", setup.dialect, "--seed", str(seed)),
                *services,
                *(word for fault in setup.faults for word in ("--fault", fault)),
                *(("--proxy",) if setup.proxied else ()),
            ],
            log=log,
            name="broker",
        )
        deadline = clock() + START_TIMEOUT
        # The broker's output is its log file, so the ready line is looked for there.
        while clock() < deadline and child.alive:
            for line in child.tail(5):
                # The log may begin with warnings. Only the ready line is a JSON object.
                if line.startswith('{"'):
                    ready = json.loads(line)
                    return cls(
                        child, ready["endpoint"], ready["control"], private=private, cancelled=cancelled
                    )
            child.wait(0.02)
        words = " | ".join(child.tail(3)) or "nothing in its log"
        child.stop(0)
        private.close()
        raise BrokerError(f"the fake broker did not start ({words}); expected it to bind {setup.bind}")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send one request to the control endpoint and return the answer."""
        import zmq

        # A new socket for each request, because a REQ socket whose request timed out cannot send another one
        # (zmq_socket(3)).
        with self._context.socket(zmq.REQ) as socket:
            # Otherwise closing the context would wait for ever for a request that a stopped broker never reads
            # (zmq_ctx_term(3)).
            socket.linger = 0
            socket.connect(self._control)
            socket.send_json({"command": command, **arguments})
            sent_at = time.monotonic()
            while not socket.poll(POLL_MS):
                took = time.monotonic() - sent_at
                if not self.child.alive:
                    state = f"exited with {self.child.returncode}"
                elif took > (CANCELLED_TIMEOUT if self._cancelled() else ANSWER_TIMEOUT):
                    state = "is running but does not answer"
                else:
                    continue
                raise BrokerError(
                    f"the fake broker did not answer {command!r} within {took:.1f} s: it {state}; "
                    f"see {self.child.log.name}"
                )
            answer: dict[str, Any] = json.loads(socket.recv())
        if not answer.get("ok"):
            raise BrokerError(f"the fake broker refused {command!r}: {answer.get('error')}")
        return answer

    def silence(self) -> None:
        """Make the broker read and count requests without answering them."""
        self.ask("silence")

    # The earlier name, which tests of users may still call (CHANGELOG.md).
    fall_silent = silence

    def resume(self) -> None:
        """Make the broker answer again; requests in between stay unanswered."""
        self.ask("resume")

    def count(self) -> BrokerCount:
        """Live peers now; requests, replies and unanswered requests since the last count."""
        stats = self.ask("stats")
        # The broker counts from its start; a cycle needs its own part.
        since = {name: int(stats[name]) - before for name, before in self._counted.items()}
        self._counted = {name: int(stats[name]) for name in self._counted}
        return BrokerCount(peers=int(stats["peers"]), identities=int(stats["identities"]), **since)

    def notes_for_user(self, *, faults: bool) -> tuple[str, ...]:
        """Notes for the user after a trial: messages that the broker rejected and, with ``faults``, what the active
        faults did."""
        stats = self.ask("stats")
        notes = [
            f"broker: rejected {counted(number, 'message')} of dialect {name}, it uses {stats['dialect']}; expected "
            f"--broker-dialect {name}"
            for name, number in stats["foreign"].items()
        ]
        unknown = sum(stats["invalid"].values()) - sum(stats["foreign"].values())
        if unknown:
            reasons = ", ".join(sorted(stats["invalid"]))
            notes.append(f"broker: rejected {counted(unknown, 'message')} of no known dialect ({reasons})")
        return (*notes, *(_fault_text(fault) for fault in stats["faults"] if faults))

    @property
    def alive(self) -> bool:
        """False once the broker process has exited."""
        return self.child.alive

    def stop(self) -> None:
        """End the process and close the control endpoint. Idempotent."""
        self.child.stop(1.0)
        self._context.term()
        if self._private:
            self._private.close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _fault_text(fault: dict[str, Any]) -> str:
    words = ",".join([fault["fault"], *(f"{k}={v}" for k, v in fault.items() if k not in NOT_PARAMETERS)])
    return f"broker: fault {words} saw {fault['seen']:,} and acted on {fault['fired']:,}"
