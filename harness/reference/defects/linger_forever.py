"""At shutdown a socket is closed while it holds messages that no peer will ever receive, with an unlimited linger
period.

``zmq_ctx_term`` waits until every socket has sent what it holds or its linger period is over
(zmq_ctx_term(3)); with linger −1 and no listening peer that is never.
"""

from __future__ import annotations

import socket
import sys
import threading

from fake_broker import mdp
from harness.reference.blueprint import Blueprint
from harness.reference.counters import Counters
from harness.reference.mdp_client import DIALECT
from harness.reference.sockets import Sockets

SUMMARY = (
    "at shutdown, a socket with a queued message is closed with linger −1, then the context is terminated"
)
SEEN = "shutdown hangs: context termination timeout"

WARN_AFTER = 1.0  # seconds until the hang is logged
REPORTS = "org.plantd.Collector"


def install(blueprint: Blueprint) -> None:
    """Register the blocking close as the last step of the shutdown."""
    # Bound and not listening: connections are refused, and no other process can take the port.
    absent = socket.socket()
    absent.bind(("127.0.0.1", 0))

    def at_shutdown() -> None:
        sockets = Sockets(Counters())
        dealer = sockets.open(f"tcp://127.0.0.1:{absent.getsockname()[1]}")
        dealer.send_multipart(mdp.encode_client_request(DIALECT, REPORTS, [b"stopping"]))
        sockets.close(dealer, linger=-1)
        # In a thread: a signal would otherwise end the wait (pyzmq takes EINTR for the end).
        ending = threading.Thread(target=sockets.context.term, daemon=True)
        ending.start()
        ending.join(WARN_AFTER)
        if ending.is_alive():
            sys.stderr.write(
                f"Context termination timeout: not ended after {WARN_AFTER:g} s, "
                "messages are still queued; waiting\n"
            )
            ending.join()

    blueprint.ending.append(at_shutdown)
