"""The reference service and a broker as real processes, and clients that disconnect in known ways."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import zmq

DEADLINE = 60.0
ROOT = Path(__file__).parents[2]
PATHS = ("/dashboard/sse", "/system/status/sse")


def wait_for(
    condition: Callable[[], object], what: str | Callable[[], str], deadline: float = DEADLINE
) -> Any:
    """The first true value of ``condition``; fails naming ``what`` when there is none in time."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not true in time: {what if isinstance(what, str) else what()}"
        time.sleep(0.01)
    return value


def steady(reading: Callable[[], Any], window: float = 0.4, deadline: float = DEADLINE) -> Any:
    """The value of ``reading`` once it has not changed for ``window`` seconds."""
    value, since = reading(), time.monotonic()

    def unchanged() -> bool:
        nonlocal value, since
        now = reading()
        if now != value:
            value, since = now, time.monotonic()
        return time.monotonic() - since >= window

    wait_for(unchanged, "a steady reading", deadline)
    return value


class Broker:
    """``python -m fake_broker`` as a process: it answers, and can be silenced and resumed."""

    def __init__(self, bind: str = "tcp://127.0.0.1:0") -> None:
        argv = [sys.executable, "-m", "fake_broker", "--json-ready", "--bind", bind]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True
        )
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.endpoint = self.ready["endpoint"]

    def order(self, command: str) -> dict[str, Any]:
        """One order at the control endpoint."""
        with zmq.Context() as context, context.socket(zmq.REQ) as control:
            control.linger = 0
            control.connect(self.ready["control"])
            control.send_json({"command": command})
            assert control.poll(1000 * DEADLINE), "the broker does not answer its control endpoint"
            answer = control.recv_json()
        assert isinstance(answer, dict)
        assert answer["ok"], answer
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Service:
    """One run of the reference service, in its own process group, with its log in a file."""

    def __init__(self, log: Path, broker: Broker, *arguments: str, nofile: int = 1024) -> None:
        self.log = log
        argv = [sys.executable, "-m", "harness.reference", "--port", "0", "--ready"]
        argv += ["--broker", broker.endpoint, *arguments]
        # prlimit by a shell-less trampoline: limits must hold from the first descriptor on.
        limited = (
            "import os, resource, sys; "
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({nofile}, {nofile})); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-S", "-c", limited, *argv],
                stdout=subprocess.PIPE,
                stderr=out,
                cwd=ROOT,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert first, self.text()
        self.url = json.loads(first)["url"]
        self.port = urlsplit(self.url).port
        self.pid = self.process.pid

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def get(self, path: str) -> Any:
        """A JSON answer."""
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE) as answer:
            return json.loads(answer.read())

    def rest(self) -> None:
        """Wait until every stream and every check is over, as the service itself counts them."""

        def over() -> bool:
            counters = self.get("/debug/counters")
            return counters["streams"]["open"] == counters["checks"]["running"] == 0

        wait_for(over, "streams and checks are over")

    def descriptors(self) -> Counter[str]:
        """Open descriptors of the process and its children by class, as /proc names them."""
        found: Counter[str] = Counter()
        for pid in self.tree():
            folder = f"/proc/{pid}/fd"
            for name in os.listdir(folder):
                try:
                    target = os.readlink(f"{folder}/{name}")
                except FileNotFoundError:
                    continue
                found[target.removeprefix("anon_inode:").split(":[")[0].strip("[]")] += 1
        return found

    def threads(self) -> int:
        """Threads of the process and its children."""
        return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in self.tree())

    def tree(self) -> list[int]:
        """The process and its children."""
        found = [self.pid]
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                found += map(int, (task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended meanwhile
        return found

    def resident(self) -> int:
        """Anonymous memory in bytes."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no Anonymous in smaps_rollup")

    def close_wait(self) -> int:
        """Connections that the peer has closed and the service has not (man 5 proc: st 08)."""
        rows = Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]
        return sum(
            row.split()[3] == "08" and int(row.split()[1].split(":")[1], 16) == self.port for row in rows
        )

    def wait_dead(self, deadline: float = DEADLINE) -> int:
        """The return code of a service that exits by itself."""
        return self.process.wait(deadline)

    def stop(self, grace: float = DEADLINE) -> int:
        """SIGTERM, then SIGKILL to all of them; the return code."""
        self.process.terminate()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(0.0 if self.process.poll() is not None else 2.0)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Client:
    """One stream on a plain socket."""

    def __init__(self, service: Service, path: str, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(("127.0.0.1", service.port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        self.seen = b""

    def events(self, count: int) -> bytes:
        """Read until ``count`` events are complete; returns everything read so far."""
        while self.seen.count(b"data:") < count or not self.seen.rstrip(b"\r\n0123456789abcdef").endswith(
            b"}"
        ):
            more = self.socket.recv(65536)
            assert more, f"the stream ended: {self.seen!r}"
            self.seen += more
        return self.seen

    def silent_for(self, seconds: float) -> bool:
        """True when no byte arrives in that time."""
        self.socket.settimeout(seconds)
        try:
            self.seen += self.socket.recv(65536)
        except TimeoutError:
            pass
        return not self.seen

    def leave(self, reset: bool = False) -> None:
        """FIN, or RST."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def cycle(service: Service, streams: int, events: int = 1, reset: bool = False) -> None:
    """Open streams on both paths at once, wait for the events of each, and disconnect."""
    clients = [Client(service, PATHS[n % 2]) for n in range(streams)]
    try:
        for client in clients:
            if events:
                client.events(events)
    finally:
        for client in clients:
            client.leave(reset)


@contextmanager
def running(
    log: Path, *arguments: str, silent: bool = False, nofile: int = 1024
) -> Iterator[tuple[Service, Broker]]:
    """Start a broker and the service that uses it, and end both afterwards."""
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        if silent:
            broker.order("silence")
        yield stack.enter_context(Service(log, broker, *arguments, nofile=nofile)), broker
