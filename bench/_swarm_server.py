"""The small server of bench/swarm.py: one epoll loop, so that it never is the bottleneck.

python -m bench._swarm_server ADDRESS

Prints ``{"port": N}``, then takes one command a line from its standard input and answers with one JSON line: ``open N``
waits until N streams have their head and first event, and returns when that was (CLOCK_MONOTONIC); ``send COUNT EVERY``
sends COUNT events to each open stream, one every EVERY seconds; ``stats``. Every stream gets its head and one event in
one segment, chunked, and events of 120 bytes after.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
SIZE = 120  # bytes of an event on the wire, without the chunk's framing
STAMP = "id: {}\ndata: {:.6f} "
END = b"\n\n"
COARSE = 0.05  # seconds between two checks of what is due, when nothing is being sent


def event(number: int, moment: float) -> bytes:
    """One event in one chunk (RFC 9112, 7.1): its id counts up, its data begins with when it was sent."""
    text = STAMP.format(number, moment).encode()
    return b"%x\r\n%s%s\r\n" % (SIZE, text.ljust(SIZE - len(END), b"x"), END)


class Server:
    """The streams by descriptor, and the command in progress."""

    def __init__(self, address: str) -> None:
        self.listener = socket.create_server((address, 0), backlog=4096)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.poll.register(0, select.EPOLLIN)
        os.set_blocking(0, False)
        self.streams: dict[int, socket.socket] = {}
        self.opened = self.sent = self.short = 0
        self.latest = 0.0  # when the last stream was answered
        self.wanted = 0  # number of streams that the command ``open`` waits for
        self.answer: tuple[list[socket.socket], int, float, float] | None = None
        self.step = 0

    def run(self) -> None:
        """Until the end of standard input."""
        print_line(port=self.listener.getsockname()[1])
        listening, streams = self.listener.fileno(), self.streams
        while True:
            for fd, _ in self.poll.poll(0.001 if self.answer else COARSE):
                if fd == listening:
                    self.accept()
                elif fd == 0:
                    if not self.command():
                        return
                else:
                    self.read(fd, streams[fd])
            if self.answer:
                self.send()

    def accept(self) -> None:
        """Accept every waiting connection; its request has usually arrived already."""
        for _ in range(128):
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            stream.setblocking(False)
            fd = stream.fileno()
            self.streams[fd] = stream
            self.poll.register(fd, select.EPOLLIN)
            self.read(fd, stream)

    def read(self, fd: int, stream: socket.socket) -> None:
        """A request, all of which comes at once, or the end."""
        try:
            data = stream.recv(4096)
            if data:
                self.latest = time.monotonic()
                stream.send(HEAD + event(0, self.latest))
                self.opened += 1
                if self.opened == self.wanted:
                    self.reached()
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        del self.streams[fd]
        stream.close()

    def reached(self) -> None:
        """Answer the command ``open`` once its number of streams is reached."""
        self.wanted = 0
        print_line(opened=self.opened, at=self.latest)

    def send(self) -> None:
        """Send the events that are due."""
        assert self.answer is not None
        streams, count, gap, start = self.answer
        now = time.monotonic()
        due = min(int((now - start) / gap), len(streams) * count)
        while self.step < due:
            number, index = divmod(self.step, len(streams))
            text = event(number + 1, time.monotonic())
            try:
                self.short += streams[index].send(text) != len(text)
                self.sent += 1
            except OSError:
                self.short += 1
            self.step += 1
        if due == len(streams) * count:
            self.answer = None
            print_line(sent=self.sent, short=self.short)

    def command(self) -> bool:
        """One command; False at the end."""
        line = os.read(0, 4096).decode().split()
        if not line:
            return False
        if line[0] == "open":
            self.wanted = int(line[1])
            if self.opened >= self.wanted:
                self.reached()
        elif line[0] == "send":
            streams, count, every = list(self.streams.values()), int(line[1]), float(line[2])
            self.step, self.sent, self.short = 0, 0, 0
            self.answer = (streams, count, every / len(streams), time.monotonic())
        else:
            print_line(opened=self.opened, open=len(self.streams), cpu=time.process_time())
        return True


def print_line(**values: object) -> None:
    """Print one JSON line for the parent process."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(values), flush=True)


if __name__ == "__main__":
    Server(sys.argv[1]).run()
