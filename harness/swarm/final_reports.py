"""The end of a Locust run with workers: the master waits for what each of them counted last.

Locust's own master gives them half a second (MasterRunner.quit): on a busy machine their last counts would be missing
from its table.
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
        environment.events.quitting.add_listener(await_workers)  # the last one added is the first one called


def await_workers(environment: Any, **_: Any) -> None:
    """End the workers, and wait until each has reported and gone, or is missing."""
    runner = environment.runner
    runner.stop(send_stop_to_client=False)  # or the users of the first to go would be given to the others
    for client in runner.clients.all:
        runner.server.send_to_client(Message("quit", None, client.id))  # type: ignore[no-untyped-call]
    end = time.monotonic() + TIMEOUT
    while any(client.state != STATE_MISSING for client in runner.clients.all) and time.monotonic() < end:
        gevent.sleep(0.02)
