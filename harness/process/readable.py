"""Waits until a descriptor can be read."""

from __future__ import annotations

import select


def readable(descriptor: int, timeout: float) -> bool:
    """Whether there is something to read, or an end of file, within ``timeout`` seconds.

    By poll(2): select(2) takes no descriptor above 1,023 (FD_SETSIZE), and a test suite or a service that embeds the
    harness may have more than that open.
    """
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(max(0.0, timeout) * 1000.0))
