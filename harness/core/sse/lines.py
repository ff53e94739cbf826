"""The rules of an event stream, line by line: exact under every chunking, bounded, and not fast.

The decoder comes here for whatever is out of the ordinary: the start of a stream, a CR at the end of a
chunk, an event too large to be kept whole until it ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from harness.core.sse.event import EventTooLong, LineTooLong, StreamLimit

# Bytes are compared as numbers, which cost least: 10 is LF, 13 is CR, 58 is a colon.

BOM = b"\xef\xbb\xbf"
SPILL = 512
"""Bytes of an incomplete event that are kept as they came, in the hope that the next chunk completes it. Each
chunk copies and scans them again, so more would make events fed in small chunks cost quadratic time."""

MAX_RETRY = (1 << 53) - 1
"""Milliseconds; what JavaScript can count. A larger time is taken as this one."""

EVENT_OPTION = "max_event (harness guard: --max-event)"
LINE_OPTION = "max_line (harness guard: --max-event)"
FIELD_BYTES = 16
"""Bytes of a line beside its data: the guard's limit of a line is that of an event and this much more, so that an
event of one line meets the limit of events."""

_LONGEST_RETRY = 16  # digits of MAX_RETRY


class Lines(ABC):
    """State of one stream between chunks. A subclass says what to do with a line.

    Invariants: _tail (bytes since the start of the event, LF line ends only) is empty while _open. _inside
    means _open, _line not empty, and none of _start and _after_cr.
    """

    __slots__ = (
        "_after_cr", "_failure", "_inside", "_limit", "_line", "_max_event", "_max_line", "_odd", "_open", "_spill",
        "_start", "_tail",
    )  # fmt: skip

    def __init__(self, max_line: int, max_event: int) -> None:
        if max_line < 1 or max_event < 1:
            raise ValueError(f"limits of {max_line} and {max_event} bytes: each must be at least 1")
        self._max_line = max_line
        self._max_event = max_event
        self._limit = min(max_line, max_event)
        self._spill = min(SPILL, self._limit)
        self._begin()

    def _begin(self) -> None:
        self._tail = b""
        self._line: bytearray | None = None  # what has come of a line; no buffer while idle: most streams are
        self._after_cr = False  # the last byte was a CR: an LF that follows belongs to it
        self._start = True  # a byte order mark may still come
        self._open = False  # part of an event, or of a line, has been taken
        self._inside = False  # part of a line has been taken
        self._odd = True  # any of these: the next chunk must go through _careful first
        self._failure: StreamLimit | None = None

    @abstractmethod
    def _take(self, line: bytes | bytearray, out: Any) -> None:
        """One line, without its end, no longer than max_line. A bytearray is given away for good."""

    @abstractmethod
    def _pending(self) -> bool:
        """Whether lines of an event that is not complete have been taken."""

    def _unify(self, chunk: bytes) -> bytes:
        """The chunk with LF as the only line end. A CR at its end is a line end at once."""
        if chunk[-1] == 13:
            self._after_cr = self._odd = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _careful(self, chunk: bytes, out: Any) -> bytes | None:
        """Process the chunk until no event is open, and return the rest of it, unified; None if nothing is left."""
        # A stream that exceeded a limit stays failed: nothing after that can be decoded reliably.
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))
        if not chunk:
            return None
        # A CR at the end of the last chunk has ended its line, so an LF right after it belongs to the same line end.
        if self._after_cr:
            self._after_cr = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if 13 in chunk:
            chunk = self._unify(chunk)
        if self._start:
            # The byte order mark may be cut by chunks, so the first bytes wait until they can be compared with it.
            chunk = bytes(self._line) + chunk if self._line else chunk
            if len(chunk) < len(BOM) and BOM.startswith(chunk):
                self._line = bytearray(chunk)
                return None
            self._line = None
            self._start = False
            chunk = bytes(chunk).removeprefix(BOM)
        if self._open:
            at = self._by_line(chunk, out, until_blank=True)
            if at < 0:
                return None
            chunk = chunk[at:]
        self._odd = self._after_cr
        return chunk

    def _settle(self) -> None:
        """Process the complete lines that were buffered, if any of them matters at once."""
        tail = self._tail
        if tail and (tail[0] == 58 or tail.find(b"\n:") >= 0 or tail.find(b"retry") >= 0):
            self._tail = b""
            self._absorb(tail, [])

    def _lengthen(self, chunk: bytes) -> None:
        """Within a line, a chunk without a line end. Written out in feed, where its call would be a third of it."""
        line: Any = self._line
        line += chunk
        if len(line) > self._max_line:
            raise self._failed(self._line_too_long(len(line)), None)

    def _absorb(self, chunk: bytes, out: Any) -> None:
        """Process a whole chunk, which starts at the start of a line or continues an open event."""
        self._by_line(chunk, out, until_blank=False)
        self._open = self._inside or self._pending()
        self._odd = self._open or self._after_cr

    def _by_line(self, chunk: bytes, out: Any, *, until_blank: bool) -> int:
        """Process lines; returns the start of the first line after a blank one, or -1 when the chunk has been used
        up."""
        at = 0
        try:
            while True:
                end = chunk.find(b"\n", at)
                if end < 0:
                    break
                line: bytes | bytearray = chunk[at:end]
                at = end + 1
                # The start of this line came with an earlier chunk.
                if self._line:
                    self._line += line
                    line, self._line = self._line, None
                if len(line) > self._max_line:
                    raise self._line_too_long(len(line))
                blank = not line
                self._take(line, out)
                if until_blank and blank:
                    self._open = self._inside = False
                    return at
            # The limit also holds for a line whose end has not arrived yet: it bounds what is buffered.
            rest = chunk[at:]
            if self._line:
                self._line += rest
            elif rest:
                self._line = bytearray(rest)
            if self._line and len(self._line) > self._max_line:
                raise self._line_too_long(len(self._line))
        except StreamLimit as error:
            raise self._failed(error, out) from None
        self._inside = bool(self._line)
        return -1

    def _failed(self, error: StreamLimit, out: Any) -> StreamLimit:
        self._begin()
        self._failure = error
        error.events = tuple(out or ())
        return error

    def _line_too_long(self, size: int) -> StreamLimit:
        return LineTooLong(
            f"a line of {size} bytes or more; expected at most {self._max_line}: raise {LINE_OPTION} or fix the service"
        )

    def _event_too_long(self, size: int) -> StreamLimit:
        return EventTooLong(
            f"an event with {size} bytes of data or more; expected at most {self._max_event}: raise {EVENT_OPTION} or "
            "fix the service"
        )


def reconnection_time(value: bytes | bytearray) -> int | None:
    """Milliseconds that a retry field asks for; None unless it is ASCII digits and nothing else.

    Not int(), which takes b"+1", b" 1 " and b"1_000", and refuses more than 4,300 digits.
    """
    if not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    return min(int(digits or b"0"), MAX_RETRY) if len(digits) <= _LONGEST_RETRY else MAX_RETRY
