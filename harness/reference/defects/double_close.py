"""At shutdown two owners close the same socket: the second close fails.

``zmq_close`` gives ENOTSOCK for a handle that is closed already (zmq_close(3)). pyzmq discards that error, so the
second owner calls libzmq itself, as a C client does that keeps the handle. Nothing else runs by then: the check of a
closed handle reads memory that libzmq may have given to another socket.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from harness.reference.blueprint import Blueprint
from harness.reference.counters import Counters
from harness.reference.sockets import Sockets

SUMMARY = "at shutdown, two owners close the same socket, one after the other"
SEEN = "shutdown logs: socket close failure"


def libzmq() -> ctypes.CDLL:
    """The libzmq that pyzmq has loaded. Raises OSError where its symbols cannot be loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.partition("/")[2]
        if "libzmq" in Path(path).name:
            return ctypes.CDLL("/" + path, use_errno=True)
    raise OSError("no libzmq is loaded")


def install(blueprint: Blueprint) -> None:
    """Register the two owners as the last steps of the shutdown."""
    endpoint = blueprint.settings.broker

    def at_shutdown() -> None:
        sockets = Sockets(Counters())
        dealer = sockets.open(endpoint)
        handle = dealer.underlying
        library = libzmq()
        library.zmq_close.argtypes = [ctypes.c_void_p]
        sockets.close(dealer)
        if library.zmq_close(handle) != 0:
            reason = os.strerror(ctypes.get_errno())
            sys.stderr.write(f"Socket close failure: zmq_close of a closed DEALER: {reason}\n")
        sockets.context.term()

    blueprint.ending.append(at_shutdown)
