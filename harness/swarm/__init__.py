"""Simulated clients. ``SseUser`` and ``StreamFailed`` are for locustfiles (docs/swarm.md).

Importing this package imports neither Locust nor gevent; using one of the two names does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.swarm.user import SseUser as SseUser
    from harness.swarm.user import StreamFailed as StreamFailed

__all__ = ["SseUser", "StreamFailed"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.swarm import user

    return getattr(user, name)
