"""The faster baseline of bench/swarm.py: one epoll loop with httptools that counts blank lines, and nothing else.

python -m bench._swarm_epoll KIND HOST PORT

It takes the commands of bench/_swarm_client.py. No gevent, no statistics, no ledger, no timers, no check of anything.
It takes its ports as the pool does, so that the kernel's search for a free one burdens neither.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import Any

import httptools

from bench._swarm_terms import OPENING, PROBE, REQUEST, anonymous, stamp
from harness.swarm.ports import ALL_PORTS, PORT_RANGE

READ = 16384


class Stream:
    """A socket, its parser, and the number of its events: httptools' protocol with nothing but the body."""

    __slots__ = ("events", "feed", "loop", "probe", "sock")

    def __init__(self, loop: Loop, sock: socket.socket, probe: bool) -> None:
        self.loop, self.sock, self.probe, self.events = loop, sock, probe, 0
        self.feed: Any = httptools.HttpResponseParser(self).feed_data

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        found = body.count(b"\n\n")
        if not self.events and found:
            self.loop.begun(self)
        self.events += found
        self.loop.events += found


class Loop:
    """Streams by descriptor, and the command that is under way."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.poll = select.epoll()
        self.poll.register(0, select.EPOLLIN)
        self.streams: dict[int, Stream] = {}
        self.events = 0
        self.lags: list[float] = []
        self.wanted = self.opened = self.opening = 0
        self.closing = False  # each stream is closed at its first event, and another one is opened

    def begun(self, stream: Stream) -> None:
        """A stream's first event has come."""
        self.opening -= 1
        if self.closing:
            del self.streams[stream.sock.fileno()]
            stream.sock.close()
            stream.feed = None  # or the stream and its parser would wait for the garbage collector
            self.opened += 1

    def connect(self, probe: bool) -> None:
        """One more stream. On loopback the connection stands at once, so the request can be sent."""
        sock = socket.socket()
        sock.setblocking(False)
        if ALL_PORTS is not None:
            sock.setsockopt(socket.IPPROTO_IP, PORT_RANGE, ALL_PORTS)
        sock.connect_ex(self.address)
        sock.send(REQUEST)
        self.streams[sock.fileno()] = Stream(self, sock, probe)
        self.poll.register(sock, select.EPOLLIN)
        self.opening += 1

    def turn(self, seconds: float) -> bool:
        """Wait for events and process them; True when a command has arrived."""
        command = False
        streams = self.streams
        for fd, _ in self.poll.poll(seconds):
            if fd == 0:
                command = True
                continue
            stream = streams[fd]
            chunk = stream.sock.recv(READ)
            if not chunk:
                raise RuntimeError("the server has closed a stream; expected that it stays")
            stream.feed(chunk)
            if stream.probe:
                self.lags.append(time.monotonic() - stamp(chunk))
        return command

    def fill(self) -> None:
        """Open what may be opened now."""
        while self.opened < self.wanted and self.opening < OPENING:
            self.connect(self.opened % PROBE == 0)
            self.opened += 1

    def churn(self, seconds: float, concurrency: int) -> dict[str, Any]:
        """Streams, and the seconds of opening, one event, closing."""
        self.opened, self.closing = 0, True
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            while self.opening < concurrency:
                self.connect(False)
            self.turn(0.1)
        while self.opening:
            self.turn(0.1)
        self.closing = False
        return {"streams": self.opened, "seconds": time.monotonic() - start}

    def carry_out(self, words: list[str]) -> dict[str, Any]:
        """Carry out one command."""
        if words[0] == "open":
            self.wanted += int(words[1])
            return {"started": time.monotonic()}
        if words[0] == "cpu":
            return {"cpu": time.process_time(), "events": self.events, "lags": len(self.lags)}
        if words[0] == "memory":
            return {"anonymous": anonymous()}
        if words[0] == "churn":
            return self.churn(float(words[1]), int(words[2]))
        return {"events": self.events, "wrong": 0, "lags": self.lags}

    def run(self, kind: str) -> None:
        """Until the end of standard input."""
        # One stream, so that what is made once is there before anything is measured.
        self.closing = True
        self.connect(False)
        while self.opening:
            self.turn(0.1)
        self.closing, self.opened, self.events = False, 0, 0
        print_line({"ready": kind})
        while True:
            self.fill()
            if self.turn(-1):
                words = os.read(0, 4096).decode().split()
                if not words:
                    return
                print_line(self.carry_out(words))


def print_line(values: dict[str, Any]) -> None:
    """Print one JSON line for the parent process."""
    print(json.dumps(values), flush=True)


def main() -> None:
    """Run the loop at the address of the command line."""
    kind, host, port = sys.argv[1:]
    Loop(host, int(port)).run(kind)
    os._exit(0)


if __name__ == "__main__":
    main()
