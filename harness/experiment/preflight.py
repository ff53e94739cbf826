"""Requests one stream before the load, so that obvious problems are reported at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from harness.core.expected import statuses
from harness.experiment.cancellable import call_cancellable
from harness.experiment.setup import TrialSetup
from harness.http.route import Router
from harness.swarm.load import CLIENT_PLACEHOLDER
from harness.target.preflight import Preflight, preflight

FIRST = "0"  # the number of the first client


def preflight_paths(setup: TrialSetup, url: str, *, interrupted: Callable[[], bool]) -> Preflight | None:
    """Request each path once. Returns the first response with a problem, None when all are as expected.

    Raises Interrupted as soon as the user stops the run, without waiting for the network.
    """
    load = setup.load
    parts = urlsplit(url)
    headers = {name: value.replace(CLIENT_PLACEHOLDER, FIRST) for name, value in load.headers.items()}
    # One for all paths, because they have the same host: its name is looked up once.
    router = Router(insecure=load.insecure, ca=load.ca)
    for path in setup.service.paths:
        request = partial(
            preflight,
            f"{parts.scheme}://{parts.netloc}{path.replace(CLIENT_PLACEHOLDER, FIRST)}",
            timeout=setup.service.preflight_timeout,
            headers=headers,
            method=load.method,
            body=None
            if load.body is None
            else load.body.replace(CLIENT_PLACEHOLDER.encode(), FIRST.encode()),
            router=router,
            stream=load.mode == "stream",
            expect=statuses(load.expect),
        )
        answer = call_cancellable(interrupted, request, "the preflight request")
        if answer.stalls or answer.problem:
            return answer
    return None
