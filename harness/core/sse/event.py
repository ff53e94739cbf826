"""The parts of a decoded event stream, and the errors for the two limits that one can exceed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.core.errors import EXIT_SERVICE, HarnessError

DEFAULT_LIMIT = 1 << 20
"""Bytes: of one line, and of the data of one event. Chromium and browsers alike have none; a harness that is
to outlive the service it tests must."""


MAX_LIMIT = 1 << 30
"""Bytes: what a user may raise the limit to. Each stream keeps an event until its end."""


class Event(NamedTuple):
    """One dispatched event. id: the last event id at its dispatch, its own or an earlier one.

    A named tuple, because making one takes a fifth of the time of a frozen dataclass.
    """

    type: str
    id: str
    data: str


class Comment(NamedTuple):
    """One comment line without its colon: what services send as a heartbeat."""

    text: str


class StreamLimit(HarnessError, ValueError):
    """The stream passed a limit; nothing more of it can be decoded.

    events: those that the same chunk had completed before, which feed could not return.
    """

    exit_code = EXIT_SERVICE

    def __init__(self, message: str, events: Sequence[Event | Comment] = ()) -> None:
        super().__init__(message)
        self.events = tuple(events)


class LineTooLong(StreamLimit):
    """A line of more bytes than max_line, its end not counted."""


class EventTooLong(StreamLimit):
    """An event whose data lines hold more bytes than max_event, a line end for each counted."""
