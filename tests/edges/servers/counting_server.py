"""A server with counts of its own: connections, bytes sent, and the packets by which each client disconnected.

One thread, one selector. Paths: ``/a``, ``/b`` and any other send a few events and then wait; ``/mute`` never
answers; ``/limited`` and ``/busy`` answer 429 and 503 with Retry-After; ``/ended`` ends the stream properly.

The server determines how a client disconnected from its packets alone:

- RST before the head was sent: ``rst-early``; RST later: ``rst``;
- FIN, and data that is sent then is answered by RST: the client has closed, ``fin``;
- FIN, and data that is sent READS_ON seconds later is accepted: the client still reads, ``half-close``;
- silence: 256 KiB are sent and are in the queue (SIOCOUTQ) at two checks, then comes RST: ``stall``.

On a busy machine a client may be late. If the processes of the clients are known, the server therefore does not probe
or fill a connection before each of them has slept twice (proc_pid_status(5)): their loop has then done everything that
was due, however long that took.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import selectors
import socket
import struct
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
LIMITED = b"HTTP/1.1 %d Later\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
PROBE = b":\n"
FILLER = b":" + b"." * (256 * 1024) + b"\n"
READS_ON = 0.1  # seconds after the FIN
DEADLINE = 30.0
CLOSED = 7  # TCP_CLOSE of include/net/tcp_states.h


@dataclass(eq=False)
class Peer:
    """One connection. sent: bytes that the client has certainly received."""

    sock: socket.socket
    address: str
    request: bytes = b""
    path: str = ""
    sent: int = 0
    events: int = 0
    answered: bool = False
    filled: bool = False
    unread: int = 0
    eof: bool = False


@dataclass
class Count:
    """Everything seen since ``clear``. open: neither FIN nor RST came yet. peak: the most of them at once."""

    accepted: int = 0
    answered: int = 0
    open: int = 0
    peak: int = 0
    events: int = 0
    comments: int = 0
    bytes: int = 0
    by_path: Counter[str] = field(default_factory=Counter)
    by_end: Counter[str] = field(default_factory=Counter)
    by_address: Counter[str] = field(default_factory=Counter)
    requests: list[bytes] = field(default_factory=list)


class Loop:
    """The main thread of a process, and how often it was found asleep."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/status")
        self._switches = self._read()[1]
        self._asleep = 0

    def has_slept(self) -> bool:
        """True once it was asleep at two checks or between them, or has exited."""
        state, switches = self._read()
        self._asleep += state == "S" or switches > self._switches
        self._switches = switches
        return self._asleep >= 2 or state == "Z"

    def _read(self) -> tuple[str, int]:
        try:
            words = dict(line.split(":", 1) for line in self._file.read_text().splitlines())
        except OSError:
            return "Z", 0
        return words["State"].split()[0], int(words["voluntary_ctxt_switches"])


class CountingServer:
    """events: per stream. delay: seconds from the request to the head, so that a reset can be early. timeout: seconds
    of silence after the last event before the queue is filled. clients: returns the processes of the clients, whose
    main thread is their loop."""

    def __init__(
        self, host: str = "127.0.0.1", *, events: int = 3, delay: float = 0.05, timeout: float = 0.1
    ):
        self.events, self.delay, self.timeout = events, delay, timeout
        self.clients: Callable[[], Iterable[int]] = tuple
        self.count = Count()
        self._listener = socket.create_server((host, 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._due: list[tuple[float, int, Callable[[Peer], None], Peer]] = []
        self._number = itertools.count()
        self._stopping = False
        self._peers: set[Peer] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def clear(self) -> None:
        """Reset the counts; only while no client is connected."""
        self.settle()
        self.count = Count()

    def settle(self, accepted: int = 0) -> Count:
        """Wait until ``accepted`` clients have connected, all have disconnected, and the way of each is known."""
        end = time.monotonic() + DEADLINE
        while (
            self.count.accepted < accepted
            or self.count.open
            or self._peers
            or sum(self.count.by_end.values()) != self.count.accepted
        ):
            assert time.monotonic() < end, f"a client is still connected: {self.count}"
            time.sleep(0.005)
        return self.count

    def served(self, streams: int) -> bool:
        """Whether ``streams`` got their events, and no client has unread data (rx_queue of proc_net_tcp(5))."""
        if self.count.answered < streams:
            return False
        here = f":{self.port:04X}"
        rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return not any(row[2].endswith(here) and int(row[4].partition(":")[2], 16) for row in rows)

    def _run(self) -> None:
        while not self._stopping:
            timeout = min(0.05, max(0.0, self._due[0][0] - time.monotonic())) if self._due else 0.05
            if self._look(timeout):
                self._accept()
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, action, peer = heapq.heappop(self._due)
                if peer in self._peers:
                    action(peer)

    def _look(self, timeout: float) -> bool:
        """Read what has arrived; True when a connection waits to be accepted."""
        ready = [key.data for key, _ in self._selector.select(timeout)]
        for peer in ready:
            if peer is not None:
                self._read(peer)
        return None in ready

    def _later(self, seconds: float, action: Callable[[Peer], None], peer: Peer) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), action, peer))

    def _when_clients_slept(self, seconds: float, action: Callable[[Peer], None], peer: Peer) -> None:
        """Call something later, but not before every client has done what is due now."""
        waiting = [Loop(pid) for pid in self.clients()]
        self._later(seconds, partial(self._call_once_slept, action, waiting), peer)

    def _call_once_slept(self, action: Callable[[Peer], None], waiting: list[Loop], peer: Peer) -> None:
        waiting = [loop for loop in waiting if not loop.has_slept()]
        if waiting:
            self._later(0.01, partial(self._call_once_slept, action, waiting), peer)
            return
        # What the clients did before they slept has arrived, and we may have been kept from reading it: a half-closed
        # stream would otherwise be filled, and counted by the client alone.
        self._look(0.0)
        if peer in self._peers:
            action(peer)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                sock, address = self._listener.accept()
                # A client that disconnected before this one connected is no longer open, so concurrency is counted
                # exactly.
                self._look(0.0)
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer(sock, address[0])
                self._peers.add(peer)
                count = self.count
                count.accepted += 1
                count.open += 1
                count.peak = max(count.peak, count.open)
                count.by_address[peer.address] += 1
                self._selector.register(sock, selectors.EVENT_READ, peer)
                self._read(peer)

    def _read(self, peer: Peer) -> None:
        try:
            while piece := peer.sock.recv(65536):
                peer.request += piece
                if not peer.path and b"\r\n\r\n" in peer.request:
                    self._on_request(peer)
                    if peer not in self._peers:
                        return
        except BlockingIOError:
            return
        except OSError:
            self._over(peer, self._by_reset(peer))
            return
        if peer.eof:
            return
        peer.eof = True
        self.count.open -= 1
        self._selector.unregister(peer.sock)
        self._when_clients_slept(READS_ON, self._probe, peer)

    @staticmethod
    def _by_reset(peer: Peer) -> str:
        if peer.eof:
            return "fin"
        if peer.unread:
            return "stall"
        return "rst" if peer.answered else "rst-early"

    def _probe(self, peer: Peer) -> None:
        if self._send(peer, PROBE):
            self._later(0.02, self._judge_fin, peer)

    def _judge_fin(self, peer: Peer) -> None:
        """Wait for the answer to the probe, and record how the client disconnected."""
        try:
            error = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            state = peer.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            unanswered = struct.unpack("i", fcntl.ioctl(peer.sock, termios.TIOCOUTQ, b"\0" * 4))[0]
        except OSError:
            error, state, unanswered = 1, CLOSED, 0
        if error or state == CLOSED:  # a RST came
            self._over(peer, "fin")
        elif unanswered:
            self._later(0.02, self._judge_fin, peer)
        else:
            self.count.comments += 1
            peer.sent += len(PROBE)
            self._over(peer, "half-close")

    def _on_request(self, peer: Peer) -> None:
        peer.path = peer.request.split(b" ", 2)[1].decode()
        self.count.by_path[peer.path] += 1
        if len(self.count.requests) < 10:
            self.count.requests.append(peer.request)
        if peer.path == "/mute":
            return
        if peer.path in ("/limited", "/busy"):
            answer = LIMITED % (429 if peer.path == "/limited" else 503)
            peer.answered = True
            self._send(peer, answer, counted=len(answer))
            return
        if self.delay:
            self._when_clients_slept(self.delay, self._answer, peer)
        else:
            self._answer(peer)

    def _answer(self, peer: Peer) -> None:
        if peer.eof:
            return
        body = HEAD + b"".join(b"id: %d\ndata: x\n\n" % number for number in range(self.events))
        peer.answered = True
        if self._send(peer, body, counted=len(body)):
            peer.events = self.events
            self.count.answered += 1
            if peer.path == "/ended":
                self._over(peer, "ended")
            else:
                self._when_clients_slept(self.timeout, self._fill, peer)

    def _fill(self, peer: Peer) -> None:
        """Send what fills the queue, then record at each call how much of it is unread."""
        if not peer.eof:
            if peer.filled:
                peer.unread = struct.unpack("i", fcntl.ioctl(peer.sock, termios.TIOCOUTQ, b"\0" * 4))[0]
            else:
                peer.filled = True
                self._send(peer, FILLER)
            self._later(0.05, self._fill, peer)

    def _send(self, peer: Peer, data: bytes, *, counted: int = 0) -> bool:
        try:
            peer.sock.send(data)
        except BlockingIOError:
            return False
        except OSError:
            self._over(peer, self._by_reset(peer))
            return False
        peer.sent += counted
        return True

    def _over(self, peer: Peer, end: str) -> None:
        if peer not in self._peers:
            return
        self._peers.discard(peer)
        count = self.count
        if not peer.eof:
            count.open -= 1
            self._selector.unregister(peer.sock)
        count.events += peer.events
        count.bytes += peer.sent
        count.by_end[end] += 1
        peer.sock.close()

    def __enter__(self) -> CountingServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(DEADLINE)
        for peer in self._peers:
            peer.sock.close()
        self._selector.close()
        self._listener.close()
