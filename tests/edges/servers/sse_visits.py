"""The actions of a user in ``sse_driver``: functions that take it and a path."""

from __future__ import annotations

import itertools
from typing import Any


def take(user: Any, path: str, count: int, options: dict[str, Any]) -> list[list[str]]:
    """The first events, as [type, id, data]."""
    with user.sse(path, **options) as stream:
        return [[event.type, event.id, event.data] for event in itertools.islice(stream, count)]


def outcome_and_rest(user: Any, path: str, count: int, options: dict[str, Any]) -> str:
    """Why it fails; then long enough for any reconnect that should not be."""
    import gevent

    found = outcome(user, path, count, options)
    gevent.sleep(0.2)
    return found


def outcome(user: Any, path: str, count: int, options: dict[str, Any]) -> str:
    """Why it fails."""
    from harness.swarm.user import StreamFailed

    try:
        take(user, path, count, options)
    except StreamFailed as error:
        return error.cause
    return "taken"
