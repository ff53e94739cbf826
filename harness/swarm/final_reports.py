"""The end of a Locust run with workers: the master waits for the last report of each.

Locust's own master gives them half a second (MasterRunner.quit): on a busy machine their last reports would be
missing from its table.
"""

from __future__ import annotations

import time
from typing import Any

import gevent
from locust import events
from locust.rpc.protocol import Message
from locust.runners import STATE_MISSING, MasterRunner

TIMEOUT = 10.0  # seconds


@events.init.add_listener  # type: ignore[untyped-decorator]
def _attach(environment: Any, runner: Any = None, **_: Any) -> None:
    if isinstance(runner, MasterRunner):
        environment.events.quitting.add_listener(await_workers)  # Locust calls listeners in reverse order


def await_workers(environment: Any, **_: Any) -> None:
    """Stop the workers, and wait until each has reported and exited, or is missing."""
    runner = environment.runner
    # Locust must not send the order to stop, or it moves the users of the first worker that exits to the others.
    runner.stop(send_stop_to_client=False)
    for client in runner.clients.all:
        runner.server.send_to_client(Message("quit", None, client.id))  # type: ignore[no-untyped-call]
    end = time.monotonic() + TIMEOUT
    while any(client.state != STATE_MISSING for client in runner.clients.all) and time.monotonic() < end:
        gevent.sleep(0.02)
