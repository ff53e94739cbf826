"""Ctrl-C ends a Locust run, whichever greenlet runs when it comes.

Python raises KeyboardInterrupt in the greenlet that happens to run. Where that is Locust's greenlet that starts users,
LocalRunner catches it, and waits for ever for itself to end (locust/runners.py 2.47, ``except KeyboardInterrupt``
around ``spawn_users``): the run continues and no report is written. Here the main greenlet always gets it, as Locust
expects.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import gevent
from locust import events


@events.init.add_listener  # type: ignore[untyped-decorator]
def _attach(**_: Any) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # a program that uses Locust as a library, or Locust itself for --processes, has a handler of its own
    hub = gevent.get_hub()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # The next one is raised where it comes, so a user that never yields can be interrupted too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        hub.loop.run_callback_threadsafe(hub.parent.throw, KeyboardInterrupt)

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        pass  # Locust runs in another thread than the main one, which no signal reaches
