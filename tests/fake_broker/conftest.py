"""Real brokers, each a process of its own, and real peers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fake_broker import mdp

TIMEOUT = 30.0
"""Seconds until a condition that must come true counts as failed."""


def _until(condition: Callable[[], Any], what: str | Callable[[], str]) -> Any:
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what if isinstance(what, str) else what()}")
        time.sleep(0.005)
    return found


class Process:
    """``python -m fake_broker``, its control socket and peers that are closed with it."""

    def __init__(self, *options: str) -> None:
        bind = () if "--bind" in options else ("--bind", "tcp://127.0.0.1:0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fake_broker", *bind, "--json-ready", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=TIMEOUT)
            raise AssertionError(f"no ready line; exit {self.process.returncode}: {errors}")
        self.ready = json.loads(line)
        self.endpoint: str = self.ready["endpoint"]
        self.dialect = options[options.index("--dialect") + 1] if "--dialect" in options else "plantd"
        self.context = zmq.Context()
        self._order = self.context.socket(zmq.REQ)
        self._order.connect(self.ready["control"])
        self._order.linger = 0
        self._order.rcvtimeo = int(TIMEOUT * 1000)

    def ask(self, command: str, **keys: Any) -> dict[str, Any]:
        self._order.send_json({"command": command, **keys})
        answer = self._order.recv_json()
        assert isinstance(answer, dict)
        return answer

    def order(self, command: str, **keys: Any) -> dict[str, Any]:
        answer = self.ask(command, **keys)
        assert answer["ok"], answer
        return answer

    def stat(self, name: str) -> Any:
        return self.order("stats")[name]

    def until(self, name: str, value: Any) -> None:
        _until(lambda: self.stat(name) == value, lambda: f"{name} == {value}; it is {self.stat(name)}")

    def dealer(self, identity: bytes | None = None) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.rcvtimeo = int(TIMEOUT * 1000)
        if identity is not None:
            socket.identity = identity
        socket.ipv6 = "[" in self.endpoint
        socket.connect(self.endpoint)
        return socket

    def send(self, socket: zmq.Socket[bytes], service: str, *body: bytes) -> None:
        socket.send_multipart(mdp.encode_client_request(self.dialect, service, body))

    def reply(self, socket: zmq.Socket[bytes]) -> mdp.ClientReply:
        return mdp.decode_client_reply(self.dialect, socket.recv_multipart())

    def check(self, socket: zmq.Socket[bytes], service: str, *body: bytes) -> mdp.ClientReply:
        self.send(socket, service, *body)
        return self.reply(socket)

    def close(self) -> None:
        self.context.destroy(0)
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=TIMEOUT)


@pytest.fixture
def until() -> Callable[[Callable[[], Any], str], Any]:
    return _until


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start a broker with these options; it ends with the test."""
    started: list[Process] = []

    def begin(*options: str) -> Process:
        started.append(Process(*options))
        return started[-1]

    yield begin
    for process in started:
        process.close()


@pytest.fixture
def descriptors() -> Callable[[int], int]:
    """How many descriptors a process has open."""
    return lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir()))
