"""Ctrl-C and SIGTERM end the run in order, and save what was measured."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """Sets ``event`` at the first SIGINT or SIGTERM; a second one aborts at once."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._previous: dict[int, object] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.event.is_set():
            raise KeyboardInterrupt
        self.event.set()

    def __enter__(self) -> threading.Event:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self.event

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
