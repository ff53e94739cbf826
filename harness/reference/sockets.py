"""Every ZeroMQ socket the service opens, kept until it is closed.

pyzmq closes a socket that is dropped, at garbage collection; CZMQ, which the crashed service used, does not: it
records each socket with the line that made it, and reports the open ones at exit. This registry does the same, so
that a socket that is never closed is a leak here too.
"""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType

import zmq

from harness.reference.counters import Counters


class CheckFailed(Exception):
    """A health check that ended without a good answer; an ordinary event, not a programming error."""

    def __init__(self, text: str, *, timeout: bool = False, refused: bool = False) -> None:
        super().__init__(text)
        self.timeout = timeout
        self.refused = refused


class Sockets:
    """The shared context, and strong references to every open socket and private context.

    limit: how many sockets may be open at once; None: as many as the system gives.
    """

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.limit: int | None = None
        self.context = zmq.Context()
        self._lock = threading.Lock()
        self._open: dict[int, tuple[zmq.Socket[bytes], str]] = {}
        self._contexts: dict[int, zmq.Context[zmq.Socket[bytes]]] = {}

    def open(self, endpoint: str, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> zmq.Socket[bytes]:
        """A DEALER connected to ``endpoint``. Raises CheckFailed over the limit, zmq.ZMQError when the system or the
        context has reached its limit (EMFILE)."""
        with self._lock:
            # Counted under the lock: otherwise two threads could both take the last place.
            if self.limit is not None and len(self._open) >= self.limit:
                raise CheckFailed(f"socket limit of {self.limit} reached", refused=True)
            socket = (context or self.context).socket(zmq.DEALER)
            self._open[id(socket)] = (socket, _site(sys._getframe(1)))
        self.counters.add("sockets.opened")
        # A request that no broker has taken must not delay the close, or the exit.
        socket.linger = 0
        socket.connect(endpoint)
        return socket

    def close(self, socket: zmq.Socket[bytes], linger: int = 0) -> None:
        """Close and remove from the registry; closing twice has no effect. linger in milliseconds, −1: for ever."""
        with self._lock:
            known = self._open.pop(id(socket), None)
        socket.close(linger=linger)
        if known:
            self.counters.add("sockets.closed")

    def new_context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """A private context, kept until ``end_context``."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with self._lock:
            self._contexts[id(context)] = context
        self.counters.add("contexts.opened")
        return context

    def end_context(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Terminate a private context whose sockets are closed."""
        with self._lock:
            known = self._contexts.pop(id(context), None)
        context.term()
        if known:
            self.counters.add("contexts.closed")

    def dangling(self) -> list[str]:
        """One line per socket still open, in the form CZMQ gives them."""
        with self._lock:
            sites = [site for _, site in self._open.values()]
        return [f"[{os.getpid()}]dangling 'DEALER' socket created at {site}" for site in sites]

    def report(self) -> bool:
        """Print the open sockets to stderr, as CZMQ does at exit; True when there are none."""
        lines = self.dangling()
        if lines:
            lines.append(f"[{os.getpid()}]dangling sockets: cannot terminate ZMQ safely")
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()
        return not lines


def _site(frame: FrameType | None) -> str:
    """File and line of the policy that asked for the socket."""
    if frame is None:
        return "?:0"
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"  # noqa: PTH119
