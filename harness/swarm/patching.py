"""How a process of the swarm begins: gevent's monkey patching before it imports anything else, and no collection of
garbage until everything is imported.

gevent asks for plug-ins before and after each part that it patches. Every question reads the metadata of all installed
packages, 25 times in all: two thirds of the time that patching took. Here they are read once. The collector looked at
what was imported again and again, a fifth of the time that the imports took.
"""

from __future__ import annotations

import gc
import importlib.metadata

import gevent.monkey


def begin() -> None:
    """``gevent.monkey.patch_all()``, with the same plug-ins; call ``imported`` after the imports."""
    gc.disable()
    read = importlib.metadata.entry_points
    importlib.metadata.entry_points = read().select
    try:
        gevent.monkey.patch_all()
    finally:
        importlib.metadata.entry_points = read


def imported() -> None:
    """Collect garbage from now on, and never look at what was imported: it stays as long as the process."""
    gc.freeze()
    gc.enable()
