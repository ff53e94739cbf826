"""Counting a stream instead of decoding it: what a load generator needs of most of its streams."""

from __future__ import annotations

import re

from harness.core.sse.counted import CountedLines
from harness.core.sse.event import DEFAULT_LIMIT
from harness.core.sse.shapes import BARE, Shape, shape_of

_DATA, _BEATS = b"\n\ndata:", b"\n\n:"
"""What stands between two events, or comments, of one line each."""
_NEXT = b"\n"
_HELD = 512
"""Bytes: a chunk up to this size is kept whole until it is known what of it is needed; cutting costs more."""


class Counter(CountedLines):
    """As Decoder, but it only counts: no event is built, no value is kept but the last id.

    events, comments, bytes; ids: events that brought an id of their own; retry (ms) as in Decoder. With
    check_ids, ids that are whole numbers are compared with the one before: missed (numbers skipped, once),
    repeated (the same again), disordered (below the one before). like: a counter of events of the same look,
    which this one expects then.

    Invariants: while _held, _tail is empty and the stream is not _odd; _held is _NEXT, at the start of an event,
    or it ends within the first line of an event or comment that began in it.
    """

    __slots__ = ("_between", "_held", "_shape", "_small")

    def __init__(
        self,
        *,
        max_line: int = DEFAULT_LIMIT,
        max_event: int = DEFAULT_LIMIT,
        check_ids: bool = False,
        like: Counter | None = None,
    ) -> None:
        self._shape: Shape = BARE if like is None else like._shape
        self._between = _DATA
        super().__init__(max_line, max_event, check_ids)
        self._small = min(2 * _HELD, self._limit)

    def _begin(self) -> None:
        super()._begin()
        self._held = b""

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
        self.bytes = total = self.bytes + len(chunk)
        if total <= self._until and 10 not in chunk and 13 not in chunk:
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
        elif self._until >= 0 and self._another(chunk):
            return 1
        before = self.events
        if self._odd:
            if self._until >= 0:
                self._measure(chunk)
            left = self._careful(chunk, None)
            if left is None:
                if self._inside:
                    self._shorten()
                return self.events - before
            chunk = left
        elif 13 in chunk:
            chunk = self._unify(chunk)
        buffer = self._tail + chunk if self._tail else chunk
        if len(buffer) <= self._small and self._shape is not BARE:
            shape = self._shape
            find = shape.few_counted if self._check_ids else shape.few
            few = find(buffer) if self._check_ids or 0 not in buffer else None
            if few is not None:
                self._tail = buffer[few.end() :]
                count = few.lastindex
                if not count:
                    return self.events - before
                self.events += count
                if shape.numbered:
                    self.ids += count
                    self._last, self._own_from = few[count], b""
                    if self._check_ids:
                        self._check_few(few, count)
                return self.events - before
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
            if cut or not self._begin_short(buffer):
                self._absorb(buffer, None)
                if self._inside:
                    self._shorten()
        else:
            self._tail = buffer
        return self.events - before

    def _another(self, chunk: bytes) -> bool:
        """Within a shortened line: whether its event ended, and nothing follows but a part of another data line."""
        at = chunk.find(10)
        total, most = self.bytes, self._max_line
        rest = len(chunk) - at - 2
        left = self._until - total + len(chunk)
        if (
            chunk[at : at + 8] != b"\n\ndata: "[: rest + 2]
            or 0 < rest < 6
            or chunk.rfind(10) != at + 1
            or 13 in chunk
            or self._own is not None
            or at > left
            or rest > most
            or self._size + most - left + at >= self._max_event
        ):
            return False
        self.events += 1
        if rest:
            self._until = total + most - rest
            self._size = -6
        else:
            self._until, self._size = -1, 0
            self._line.clear()
            self._open = self._inside = self._odd = False
        return True

    def _check_few(self, few: re.Match[bytes], count: int) -> None:
        """As _check, for what Shape.few_counted found."""
        due = self._highest + 1
        in_step = 0 < due == int(few[1]) and count <= 2
        if in_step and (count == 1 or int(few[2]) == due + 1):
            self._previous = self._highest = due + count - 1
        else:
            self._check(few.groups()[:count])

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


def _last_id(block: bytes) -> bytes:
    """The id of the last event of a block in which each has one."""
    at = block.rfind(b"\nid:") + 1
    return block[at + 3 : block.find(b"\n", at)].removeprefix(b" ")
