"""A server and one client, each in a process of its own, and the commands for both."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from harness.process.readable import readable

TIMEOUT = 120.0  # seconds for any one answer
LOOK = 0.1  # seconds between two readings of a client
EPOLL = "epoll"
ADDRESSES = itertools.count(2)  # 127.0.3.N: one for each server


class Peer:
    """A process that takes commands by line and answers with one JSON line each."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.first = self.answer()

    def send(self, command: str) -> None:
        """Send a command without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    def answer(self) -> Any:
        """The next answer. Raises RuntimeError when the process exits or does not answer for TIMEOUT."""
        assert self.process.stdout is not None
        line = b""
        deadline = time.monotonic() + TIMEOUT
        while not line.endswith(b"\n"):
            ready = readable(self.process.stdout.fileno(), deadline - time.monotonic())
            more = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            if not more:
                raise RuntimeError(f"{self.process.args}: no answer; exit {self.process.poll()}")
            line += more
        return json.loads(line)

    def ask(self, command: str) -> Any:
        """Send a command; returns its answer."""
        self.send(command)
        return self.answer()

    def end(self) -> None:
        """End the process; it has exited when this returns."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(frozen=True, slots=True)
class Flow:
    """Events through open streams. cpu: seconds of the client; lags: seconds, of one stream in twenty.

    received: events that the client counted until it ended; for the pool, those in its ledger. wrong: streams that
    failed, and ids that were missed, repeated or out of order, if the client checks them.
    """

    cpu: float
    sent: int
    received: int
    lags: list[float]
    wrong: int


class Pair:
    """A client, and the small server at an address of its own: ports of another run in TIME_WAIT do not disturb it."""

    def __init__(self, kind: str) -> None:
        host = f"127.0.3.{next(ADDRESSES)}"
        self.server = Peer("bench._swarm_server", host)
        try:
            module = "bench._swarm_epoll" if kind == EPOLL else "bench._swarm_client"
            self.client = Peer(module, kind, host, str(self.server.first["port"]))
        except BaseException:
            self.server.end()
            raise
        self.opened = self.server.ask("stats")["opened"]  # to warm up

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.end()
        self.server.end()

    def memory(self) -> int:
        """Anonymous bytes of the client."""
        return int(self.client.ask("memory")["anonymous"])

    def open(self, count: int) -> float:
        """Open more streams; returns the seconds until the server has answered the last of them."""
        self.opened += count
        start = self.client.ask(f"open {count}")["started"]
        seconds: float = self.server.ask(f"open {self.opened}")["at"] - start
        self.settle()
        return seconds

    def settle(self) -> None:
        """Wait until the client has nothing more to do."""
        last = -1.0
        while (now := self.client.ask("cpu")["cpu"]) - last > 0.1 * LOOK:
            last = now
            time.sleep(LOOK)

    def flow(self, streams: int, count: int, every: float) -> Flow:
        """Open streams, then send events to each at an interval, and count them."""
        self.client.ask("count")
        started = self.client.ask("cpu")["events"]
        self.open(streams)
        deadline = time.monotonic() + TIMEOUT
        # Each stream's first event: not seen yet, it would count among those that are sent now.
        while (before := self.client.ask("cpu"))["events"] - started < streams:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK)
        sent = self.server.ask(f"send {count} {every}")["sent"]
        deadline = time.monotonic() + TIMEOUT
        while (after := self.client.ask("cpu"))["events"] - before["events"] < sent:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK)
        done = self.client.ask("end")
        received = done["events"] - before["events"]
        return Flow(
            after["cpu"] - before["cpu"], sent, received, done["lags"][before["lags"] :], done["wrong"]
        )

    def churn(self, seconds: float, concurrency: int) -> float:
        """Streams a second that were opened, brought one event, and were closed."""
        found = self.client.ask(f"churn {seconds} {concurrency}")
        return float(found["streams"] / found["seconds"])
