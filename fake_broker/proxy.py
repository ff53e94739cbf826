"""A small TCP proxy in front of the ROUTER, for faults that ZeroMQ itself cannot produce: RST, FIN, half-open
connections, bytes in slices, a pause before the handshake, a limit of bytes or of connections.

It runs in a thread of its own and touches no ZeroMQ socket; the broker's thread sends it orders through a queue. Memory
is bounded: while a reader is slow, at most BUFFER bytes are read for it.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from fake_broker.link import FIN, HALF_OPEN, HANG, RST, Direction, PeerLink, Policy, Tally

BUFFER = 64 * 1024  # bytes that wait in one direction of a connection
MAX_WAIT = 0.5  # seconds of one select
DEFAULT = Policy()
# Fields of the policy whose effects are counted for the fault that set them.
COUNTED = frozenset({"pause", "slice", "limit", "max_peers"})
BACKLOG = 512  # connections that wait to be accepted
DRAIN = 64  # times BUFFER that are read before a FIN, at most: a peer that never stops sending would block the proxy


class Proxy:
    """Owns the listening socket, the links and the thread. upstream: IPv4 address and port of the ROUTER. Raises
    OSError when it cannot listen."""

    def __init__(
        self, host: str, port: int, upstream: tuple[str, int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._upstream = upstream
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._links: dict[socket.socket, PeerLink] = {}
        self._timed: dict[PeerLink, float] = {}
        self._policy = Policy()
        self._tallies: dict[int, Tally] = {}
        self._owners: dict[str, Tally] = {}  # of each field of the policy, while a fault sets it
        self._pending_orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._listener: socket.socket | None = self._listen((host, port))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    # -- from the broker's thread

    @property
    def connections(self) -> int:
        """Peers connected to the proxy now, half-open ones too."""
        return len(self._links) // 2

    def tally(self, by: int) -> Tally | None:
        """The counts of the fault with this id so far; None for one that never reached the proxy."""
        return self._tallies.get(by)

    def change(self, *, by: int = 0, **changes: Any) -> None:
        """Change some fields of the policy. by: the fault under which it counts."""
        self._send_order(lambda: self._apply(changes, self._tallies.setdefault(by, Tally())))

    def cut(self, how: str, *, by: int = 0) -> None:
        """End every connection with ``rst`` or ``fin``, or make it ``half-open``: the broker's side is closed, and the
        peer's stays open without any traffic. by: the fault under which it counts."""
        self._send_order(lambda: self._cut_all(how, self._tallies.setdefault(by, Tally())))

    def reset_silenced(self) -> None:
        """Reset the connections that no longer pass bytes, so that their peers can connect again."""
        self._send_order(self._reset_silenced)

    def close(self) -> None:
        """End the thread and every connection. Idempotent."""
        if self._thread.is_alive():
            self._stopping = True
            self._send_order(lambda: None)
            self._thread.join()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send_order(self, order: Callable[[], None]) -> None:
        self._pending_orders.put(order)
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    # -- the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                found = self._selector.select(self._select_timeout())
                # Orders come first: a fault that was switched on before a peer connected applies to it.
                ready = self._carry_out_orders()
                for key, _ in found:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._links:
                        ready.add(self._links[key.fileobj])
                now = self._clock()
                ready |= {link for link, at in self._timed.items() if at <= now}
                for link in ready:
                    if link.front in self._links and not link.silenced:
                        self._pump(link)
                self._update_listener()
        finally:
            for link in set(self._links.values()):
                self._end(link, RST)
            for one in (self._listener, self._wake_read, self._wake_write):
                if one is not None:
                    one.close()
            self._selector.close()

    def _carry_out_orders(self) -> set[PeerLink]:
        """Carry out the orders of the other thread. Returns the connections that may make progress after them."""
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(1024)
        changed = False
        with contextlib.suppress(Empty):
            while True:
                self._pending_orders.get_nowait()()
                changed = True
        return set(self._links.values()) if changed else set()

    def _select_timeout(self) -> float:
        """Seconds until a pause or a gap is over."""
        if not self._timed:
            return MAX_WAIT
        return max(0.0, min(MAX_WAIT, min(self._timed.values()) - self._clock()))

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            front, _ = self._listener.accept()
        except OSError:
            return  # it has disconnected, or no descriptor is left: the peer may try again
        try:
            back = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            front.close()
            return
        for one in (front, back):
            one.setblocking(False)
            # Nagle's algorithm would join small slices into larger segments (tcp(7)).
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Does not wait: bytes are buffered until the connection is writable.
        back.connect_ex(self._upstream)
        link = PeerLink(front, back, self._clock() + self._policy.pause)
        self._links[front] = self._links[back] = link
        for name, tally in self._owners.items():
            tally.seen += 1
            tally.fired += name == "pause"
        self._watch(link)

    def _pump(self, link: PeerLink) -> None:
        try:
            for direction in link.directions:
                self._move(link, direction)
        except OSError:
            self._end(link, RST)
            return
        if self._policy.limit and link.passed >= self._policy.limit:
            self._count("limit")
            self._end(link, self._policy.limit_end)
        elif all(direction.shut for direction in link.directions):
            self._end(link, FIN)
        else:
            self._watch(link)

    def _move(self, link: PeerLink, direction: Direction) -> None:
        """Read and write one direction as far as it goes without waiting."""
        policy = self._policy
        if not direction.ended and len(direction.buffer) < BUFFER:
            with contextlib.suppress(BlockingIOError):
                data = direction.out_of.recv(BUFFER)
                direction.ended = not data
                direction.buffer += data
        now = self._clock()
        while direction.buffer and now >= direction.next_at:
            size = policy.slice or len(direction.buffer)
            # The last piece is cut, so that exactly ``limit`` bytes pass.
            if policy.limit:
                size = min(size, policy.limit - link.passed)
            if size <= 0:
                return
            try:
                sent = direction.into.send(direction.buffer[:size])
            except BlockingIOError:
                return
            del direction.buffer[:sent]
            link.passed += sent
            if policy.slice:
                self._count("slice")
                direction.next_at = now + policy.gap
        # An end of stream is passed on only after every byte before it.
        if direction.ended and not direction.buffer and not direction.shut:
            direction.shut = True
            direction.into.shutdown(socket.SHUT_WR)

    def _watch(self, link: PeerLink) -> None:
        """Register the connection only for events, or a time, after which it can make progress."""
        now = self._clock()
        # Bytes that wait for a pause or a gap to end: a timer wakes the connection, not its socket.
        waits = [one.next_at for one in link.directions if one.buffer and one.next_at > now]
        if waits and not link.silenced:
            self._timed[link] = min(waits)
        else:
            self._timed.pop(link, None)
        for one, reads, writes in (
            (link.front, link.directions[0], link.directions[1]),
            (link.back, link.directions[1], link.directions[0]),
        ):
            events = 0
            if not link.silenced:
                # A full buffer is not read further, so TCP's flow control stops the sender.
                if not reads.ended and len(reads.buffer) < BUFFER:
                    events |= selectors.EVENT_READ
                if writes.buffer and writes.next_at <= now:
                    events |= selectors.EVENT_WRITE
            # A selector does not accept a registration without events, so such a socket is unregistered.
            known = self._selector.get_map().get(one)
            if known is None:
                if events:
                    self._selector.register(one, events)
            elif not events:
                self._selector.unregister(one)
            elif events != known.events:
                self._selector.modify(one, events)

    def _end(self, link: PeerLink, how: str) -> None:
        if how in (HANG, HALF_OPEN):
            link.silenced = True
            self._watch(link)
            # Close the broker's side alone: the client's stays open and silent, as after a crash of its peer.
            if how == HALF_OPEN:
                link.back.close()
            return
        self._timed.pop(link, None)
        for one in (link.front, link.back):
            self._links.pop(one, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(one)
            with contextlib.suppress(OSError):
                if how == RST:
                    # A linger time of zero makes close(2) send a RST and drop what is queued (socket(7)).
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    # Unread bytes turn the FIN of close(2) into a RST (tcp_close in net/ipv4/tcp.c).
                    one.shutdown(socket.SHUT_WR)
                    for _ in range(DRAIN):
                        if not one.recv(BUFFER):
                            break
            one.close()

    # -- orders, in the thread

    def _apply(self, changes: dict[str, Any], tally: Tally) -> None:
        self._policy = replace(self._policy, **changes)
        for name in COUNTED & changes.keys():
            if changes[name] == getattr(DEFAULT, name):
                self._owners.pop(name, None)
            else:
                self._owners[name] = tally
                if name != "pause":  # it applies only to new connections
                    tally.seen += self.connections

    def _count(self, name: str) -> None:
        if tally := self._owners.get(name):
            tally.fired += 1

    def _cut_all(self, how: str, tally: Tally) -> None:
        for link in set(self._links.values()):
            tally.seen += 1
            if not link.silenced:
                tally.fired += 1
                self._end(link, how)

    def _reset_silenced(self) -> None:
        for link in set(self._links.values()):
            if link.silenced:
                self._end(link, RST)

    def _update_listener(self) -> None:
        policy = self._policy
        full = 0 <= policy.max_peers <= self.connections
        if policy.shut or full:
            if self._listener is not None:
                if full:
                    self._count("max_peers")
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
        elif self._listener is None:
            with contextlib.suppress(OSError):  # tried again within MAX_WAIT
                self._listener = self._listen(self.address)
                self._selector.register(self._listener, selectors.EVENT_READ)

    def _listen(self, address: tuple[str, int]) -> socket.socket:
        listener = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            # After a fault the same port is bound again while its old connections are still in TIME_WAIT (socket(7)).
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener
