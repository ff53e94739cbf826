"""gevent's monkey patching, which a process of the swarm does before it imports anything else.

gevent asks for plug-ins before and after each part that it patches. Every question reads the metadata of all installed
packages, 25 times in all: two thirds of the time that patching took. Here they are read once.
"""

from __future__ import annotations

import importlib.metadata

import gevent.monkey


def patch() -> None:
    """``gevent.monkey.patch_all()``, with the same plug-ins."""
    read = importlib.metadata.entry_points
    importlib.metadata.entry_points = read().select
    try:
        gevent.monkey.patch_all()
    finally:
        importlib.metadata.entry_points = read
