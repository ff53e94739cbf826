"""Counting a stream line by line: exact under every chunking, and not fast. Counter has the short cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.core.sse.lines import Lines, reconnection_time
from harness.core.sse.shapes import DIGITS

_FEW = 4
_SHORT = b"data: "


class CountedLines(Lines):
    """What a line adds to the counts, and whether the ids are in order.

    The last id is in _own_from (a block of events, each with one), when that is not empty, else in _last. _size:
    bytes of the open event's data lines, a line end for each counted. While _until is not -1, a data line has been
    shortened: _line is _SHORT, _until the value of bytes beyond which the line is too long, and _size less by
    what of the line is no data.
    """

    __slots__ = (
        "_check_ids", "_comments", "_highest", "_last", "_own", "_own_from", "_previous", "_retry", "_size", "_until",
        "bytes", "disordered", "events", "ids", "missed", "repeated",
    )  # fmt: skip

    def __init__(self, max_line: int, max_event: int, check_ids: bool) -> None:
        self.events = self.ids = self._comments = self.bytes = 0
        self.missed = self.repeated = self.disordered = 0
        self._retry: int | None = None
        self._last: bytes | bytearray = b""
        self._own_from = b""
        self._check_ids = check_ids
        self._previous = self._highest = -1
        super().__init__(max_line, max_event)

    def _begin(self) -> None:
        super()._begin()
        self._size = 0
        self._until = -1
        self._own: bytes | bytearray | None = None

    def _shorten(self) -> None:
        """Of a data line that goes on, only its length is of interest."""
        line = self._line
        if self._until < 0 and len(line) > 5 and line[:5] == b"data:":
            self._until = self.bytes + self._max_line - len(line)
            self._size -= 6 if line[5] == 32 else 5
            self._line = bytearray(_SHORT)

    def _begin_short(self, chunk: bytes) -> bool:
        """At the start of an event, a chunk without a line end: whether it begins a data line, then shortened."""
        if chunk[:6] != _SHORT or len(chunk) > self._max_line:
            return False
        self._until = self.bytes + self._max_line - len(chunk)
        self._size = -6
        self._line[:] = _SHORT
        self._open = self._inside = self._odd = True
        return True

    def _measure(self, chunk: bytes) -> None:
        """Before a chunk in which a shortened line ends, or becomes too long: check and count its whole length."""
        left = self._until - self.bytes + len(chunk)
        ends = [at for at in (chunk.find(b"\n"), chunk.find(b"\r"), len(chunk)) if at >= 0]
        if min(ends) > left:
            raise self._failed(self._line_too_long(self._max_line - left + min(ends)), None)
        self._size += self._max_line - left
        self._until = -1

    def _take(self, line: bytes | bytearray, out: Any) -> None:
        if not line:
            self._dispatch()
            return
        if type(line) is bytearray and line[:5] == b"data:":
            self._size += len(line) - (5 if line[5:6] == b" " else 4)
            self._check_size()
            return
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._size += len(value) + 1
            self._check_size()
        elif name == b"id":
            if b"\0" not in value:
                self._own = value
        elif name == b"retry":
            asked = reconnection_time(value)
            if asked is not None:
                self._retry = asked
        elif not name:
            self._comments += 1

    def _check_size(self) -> None:
        if self._size > self._max_event:
            raise self._event_too_long(self._size)

    def _dispatch(self) -> None:
        own, size = self._own, self._size
        self._own = None
        self._size = 0
        if own is not None:
            self._last, self._own_from = own, b""
        if size:
            self.events += 1
            if own is not None:
                self.ids += 1
                if self._check_ids:
                    self._check([own])

    def _pending(self) -> bool:
        return bool(self._size) or self._own is not None

    def _check(self, ids: Sequence[bytes | bytearray]) -> None:
        if len(ids) > _FEW and self._in_step(ids):
            return
        for text in ids:
            if not text.isdigit() or len(text) > DIGITS:
                continue
            value = int(text)
            if value == self._previous + 1 and self._previous == self._highest >= 0:
                self._previous = self._highest = value
                continue
            if self._previous >= 0:
                if value == self._previous:
                    self.repeated += 1
                elif value < self._previous:
                    self.disordered += 1
                else:
                    self.missed += max(0, value - max(self._highest, self._previous) - 1)
            self._previous = value
            self._highest = max(self._highest, value)

    def _in_step(self, ids: Sequence[bytes | bytearray]) -> bool:
        """Whether each is one more than the one before, which is nearly always so: one comparison for all."""
        first, count = self._previous + 1, len(ids)
        if self._highest != self._previous or not first or not all(ids) or max(map(len, ids)) > DIGITS:
            return False
        if not b"".join(ids).isdigit() or list(map(int, ids)) != list(range(first, first + count)):
            return False
        self._previous = self._highest = first + count - 1
        return True
