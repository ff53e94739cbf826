"""One stream before the load: what is plainly wrong is said at once, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from urllib.parse import urlsplit

from harness.core.errors import Interrupted
from harness.experiment.setup import TrialSetup
from harness.target.preflight import Preflight, preflight

POLL = 0.05  # seconds


def first_look(
    setup: TrialSetup, url: str, *, clock: Callable[[], float], interrupted: Callable[[], bool]
) -> Preflight | None:
    """Ask each path once; the first answer in which something is wrong, None when all are as they should be.

    Raises Interrupted: who stops the run does not wait for the network.
    """
    load = setup.load
    parts = urlsplit(url)
    for path in setup.service.paths:
        look = partial(
            preflight,
            f"{parts.scheme}://{parts.netloc}{path}",
            timeout=setup.service.preflight_timeout,
            headers=load.headers,
            method=load.method,
            body=load.body,
            insecure=load.insecure,
            ca=load.ca,
            stream=load.mode == "stream",
            clock=clock,
        )
        seen = _unless(interrupted, look)
        if seen.stalls or seen.problem:
            return seen
    return None


def _unless(interrupted: Callable[[], bool], look: Callable[[], Preflight]) -> Preflight:
    """A look that waits for the network does not hold up Ctrl-C: it is left to its own end."""
    seen: list[Preflight] = []
    thread = Thread(target=lambda: seen.append(look()), name="preflight", daemon=True)
    thread.start()
    while thread.is_alive() and not interrupted():
        thread.join(POLL)
    if not seen:
        raise Interrupted("stopped during the first look at the stream")
    return seen[0]
