"""Counting a stream instead of decoding it: what a load generator needs of most of its streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.core.sse_event import DEFAULT_LIMIT
from harness.core.sse_lines import Lines, reconnection_time
from harness.core.sse_shapes import BARE, Shape, shape_of

_DIGITS = 18
"""Of an id that is compared as a number; what is longer is no counter."""
_FEW = 4
_DATA, _BEATS = b"\n\ndata:", b"\n\n:"
"""What stands between two events, or comments, of one line each."""
_NEXT = b"\n"
_HELD = 512
"""Bytes: a chunk up to this size is kept whole until it is known what of it is needed; cutting costs more."""


class Counter(Lines):
    """As Decoder, but it only counts: no event is built, no value is kept but the last id.

    events, comments, bytes; ids: events that brought an id of their own; retry (ms) as in Decoder. With
    like: a counter of events of the same look, which this one expects then. With
    check_ids, ids that are whole numbers are compared with the one before: missed (numbers skipped, once),
    repeated (the same again), disordered (below the one before).

    Invariants: while _held, _tail is empty and the stream is not _odd; _held is _NEXT, at the start of an event,
    or it ends within the first line of an event or comment that began in it. The last id is in _own_from, when
    that is not empty, else in _last.
    """

    __slots__ = (
        "_between", "_check_ids", "_comments", "_held", "_highest", "_last", "_own", "_own_from", "_previous",
        "_retry", "_shape", "_size", "bytes", "disordered", "events", "ids", "missed", "repeated",
    )  # fmt: skip

    def __init__(
        self,
        *,
        max_line: int = DEFAULT_LIMIT,
        max_event: int = DEFAULT_LIMIT,
        check_ids: bool = False,
        like: Counter | None = None,
    ) -> None:
        self.events = self.ids = self._comments = self.bytes = 0
        self.missed = self.repeated = self.disordered = 0
        self._retry: int | None = None
        self._last: bytes | bytearray = b""
        self._own_from = b""
        self._check_ids = check_ids
        self._previous = self._highest = -1
        self._shape: Shape = BARE if like is None else like._shape
        self._between = _DATA
        super().__init__(max_line, max_event)

    def _begin(self) -> None:
        super()._begin()
        self._held = b""
        self._size = 0
        self._own: bytes | bytearray | None = None

    def reset_for_reconnect(self) -> None:
        """A new connection: the incomplete event and its id are dropped; counts, last id and retry stay."""
        self._settle()
        self._begin()

    @property
    def last_event_id(self) -> str:
        """As Decoder's."""
        if self._own_from:
            self._last, self._own_from = _last_id(self._own_from), b""
        return str(self._last, "utf-8", "replace")

    @property
    def comments(self) -> int:
        """As Decoder's."""
        self._settle()
        return self._comments

    @property
    def retry(self) -> int | None:
        """As Decoder's."""
        self._settle()
        return self._retry

    def feed(self, chunk: bytes) -> int:
        """How many events this chunk completed. Raises LineTooLong or EventTooLong, then at every call."""
        self.bytes += len(chunk)
        if self._inside and 10 not in chunk and 13 not in chunk:
            line = self._line
            line += chunk
            if len(line) > self._max_line:
                self._lengthen(b"")
            return 0
        if self._held:
            if len(chunk) <= _HELD:
                # Nothing but events, or comments, of one line, the last one complete or open?
                between = self._between
                rest = chunk.replace(between, b"")
                found = (len(chunk) - len(rest)) // len(between)
                if 13 not in rest and (self._held is not _NEXT or chunk.startswith(between[2:])):
                    if 10 not in rest:
                        if found:
                            self._held = chunk
                            if between is _DATA:
                                self.events += found
                                return found
                            self._comments += found
                            return 0
                    elif rest.find(b"\n") == len(rest) - 2 and rest[-1] == 10:
                        self._held = _NEXT
                        if between is _DATA:
                            self.events += found + 1
                            return found + 1
                        self._comments += found + 1
                        return 0
            self._release()
        before = self.events
        if self._odd:
            left = self._careful(chunk, None)
            if left is None:
                return self.events - before
            chunk = left
        elif 13 in chunk:
            chunk = self._unify(chunk)
        buffer = self._tail + chunk if self._tail else chunk
        cut = buffer.rfind(b"\n") + 1
        if cut:
            if cut == 1 or buffer[cut - 2] != 10:
                cut = buffer.rfind(b"\n\n", 0, cut) + 2
            if 1 < cut <= self._limit:
                one_line = self._blocks(buffer, cut)
                buffer = buffer[cut:]
                if one_line and not self._odd and (not buffer or self._one_open(buffer)):
                    self._tail, self._held = b"", buffer or _NEXT
                    return self.events - before
        if len(buffer) > self._spill:
            self._tail = b""
            self._absorb(buffer, None)
        else:
            self._tail = buffer
        return self.events - before

    def _one_open(self, rest: bytes) -> bool:
        return len(rest) <= _HELD and rest.startswith(self._between[2:]) and 10 not in rest

    def _release(self) -> None:
        self._tail, self._held = self._held[self._held.rfind(b"\n") + 1 :], b""

    def _settle(self) -> None:
        if self._held:
            self._release()
        super()._settle()

    def _blocks(self, buffer: bytes, cut: int) -> bool:
        """Count up to the cut, before which is a blank line. True when it was events, or comments, of one line.

        The buffer starts with an event or a comment.
        """
        form = self._shape
        beats = buffer[0] == 58
        if beats or form is BARE:
            between = _BEATS if beats else _DATA
            rest = buffer[:cut].replace(between, b"")
            if rest.find(b"\n") == len(rest) - 2 and (beats or rest.startswith(b"data:")):
                found = (cut - len(rest)) // len(between) + 1
                if beats:
                    self._comments += found
                else:
                    self.events += found
                self._between = between
                return self._limit >= 2 * _HELD
        if self._check_ids and form.numbered and not beats and 0 not in buffer:
            ids = form.ids(buffer, 0, cut)
            if len(ids) * form.ends == buffer.count(b"\n", 0, cut):
                self.events += len(ids)
                self.ids += len(ids)
                self._last, self._own_from = ids[-1], b""
                self._check(ids)
                return False
        at = 0
        if not (form.numbered and 0 in buffer):
            at = self._alike(form, buffer, 0, cut)
        if at < cut:
            other = shape_of(buffer[at:cut])
            if other is not None and other is not form:
                self._shape = other
                if not (other.numbered and 0 in buffer):
                    at = self._alike(other, buffer, at, cut)
        if at < cut:
            self._by_line(buffer[at:cut], None, until_blank=False)
        return False

    def _alike(self, form: Shape, buffer: bytes, at: int, cut: int) -> int:
        """Count the events of a shape that follow one another from a place on; where the last of them ends."""
        match = form.match(buffer, at, cut)
        end = match.end() if match else at
        if end > at:
            found = buffer.count(b"\n", at, end) // form.ends
            self.events += found
            if form.numbered:
                self.ids += found
                own = buffer[at:end]
                if self._check_ids:
                    ids = form.ids(own) if found > 1 else [_last_id(own)]
                    self._last, self._own_from = ids[-1], b""
                    self._check(ids)
                elif len(own) <= _HELD:
                    self._own_from = own
                else:
                    self._last, self._own_from = _last_id(own), b""
        return end

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
            raise self._event_too_long()

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
            if not text.isdigit() or len(text) > _DIGITS:
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
        if self._highest != self._previous or not first or not all(ids) or max(map(len, ids)) > _DIGITS:
            return False
        if not b"".join(ids).isdigit() or list(map(int, ids)) != list(range(first, first + count)):
            return False
        self._previous = self._highest = first + count - 1
        return True


def _last_id(block: bytes) -> bytes:
    """The id of the last event of a block in which each has one."""
    at = block.rfind(b"\nid:") + 1
    return block[at + 3 : block.find(b"\n", at)].removeprefix(b" ")
