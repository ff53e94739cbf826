# NOTE to whoever rewrites this: the unfinished rewrite of 05:46 (all four sse*.py) is kept in /tmp/h1_wip/. Finish it
# THERE (a copy of the package), then move it here in one go: everyone's swarm imports this module. Remove this note.
"""Counting a stream instead of decoding it: what a load generator needs of most of its streams."""

from __future__ import annotations

from typing import Any

from harness.core.sse_event import DEFAULT_LIMIT
from harness.core.sse_lines import Lines, reconnection_time


class Counter(Lines):
    """As Decoder, but it only counts: no event is built, no value is kept but the last id.

    events, comments, bytes; ids: events that brought an id of their own; retry (ms) as in Decoder. With
    check_ids, ids that are whole numbers are compared with the one before: missed (numbers skipped, once),
    repeated (the same again), disordered (below the one before).
    """

    __slots__ = (
        "_check_ids", "_highest", "_own", "_previous", "_size", "bytes", "comments", "disordered", "events", "ids",
        "last_event_id", "missed", "repeated", "retry",
    )  # fmt: skip

    def __init__(
        self, *, max_line: int = DEFAULT_LIMIT, max_event: int = DEFAULT_LIMIT, check_ids: bool = False
    ) -> None:
        self.events = self.ids = self.comments = self.bytes = 0
        self.missed = self.repeated = self.disordered = 0
        self.retry: int | None = None
        self.last_event_id = ""
        self._check_ids = check_ids
        self._previous = self._highest = -1
        super().__init__(max_line, max_event)

    def _begin(self) -> None:
        super()._begin()
        self._size = 0
        self._own: bytes | None = None

    def reset_for_reconnect(self) -> None:
        """A new connection: the incomplete event and its id are dropped; counts, last id and retry stay."""
        self._begin()

    def feed(self, chunk: bytes) -> int:
        """How many events this chunk completed. Raises LineTooLong or EventTooLong, then at every call."""
        self.bytes += len(chunk)
        before = self.events
        left: bytes | None = chunk
        if self._odd:
            left = self._careful(chunk, None)
        elif 13 in chunk:
            left = self._unify(chunk)
        if left:
            self._absorb(left, None)
        return self.events - before

    def _take(self, line: bytes, out: Any) -> None:
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._max_event:
                raise self._event_too_long()
        elif name == b"id":
            if b"\0" not in value:
                self._own = value
        elif name == b"retry":
            asked = reconnection_time(value)
            if asked is not None:
                self.retry = asked
        elif not name:
            self.comments += 1

    def _dispatch(self) -> None:
        own, size = self._own, self._size
        self._own = None
        self._size = 0
        if own is not None:
            self.last_event_id = own.decode("utf-8", "replace")
        if size:
            self.events += 1
            if own is not None:
                self.ids += 1
                if self._check_ids:
                    self._check([own])

    def _pending(self) -> bool:
        return bool(self._size) or self._own is not None

    def _check(self, ids: list[bytes]) -> None:
        for text in ids:
            if not text.isdigit() or len(text) > 18:
                continue
            value = int(text)
            if self._previous >= 0:
                if value == self._previous:
                    self.repeated += 1
                elif value < self._previous:
                    self.disordered += 1
                else:
                    self.missed += max(0, value - max(self._highest, self._previous) - 1)
            self._previous = value
            self._highest = max(self._highest, value)
