"""Server-sent events, sans-I/O: bytes in, events out; any chunking gives the same events.

Source: the WHATWG HTML Living Standard, section 9.2 (server-sent events). docs/decoder.md has the rules one by one.
"""

from __future__ import annotations

from typing import Any

from harness.core.sse.event import DEFAULT_LIMIT, Comment, Event, EventTooLong, LineTooLong, StreamLimit
from harness.core.sse.ids import IdSequence
from harness.core.sse.lines import MAX_RETRY, Lines, reconnection_time
from harness.core.sse.shapes import BARE, Shape, shape_of

__all__ = [
    "DEFAULT_LIMIT", "MAX_RETRY", "Comment", "Decoder", "Event", "EventTooLong", "LineTooLong", "StreamLimit",
]  # fmt: skip

_BETWEEN = "\n\ndata: "  # two events that are one line of data each
_new = tuple.__new__


class Decoder(Lines):
    """Feed it bytes as they come.

    last_event_id outlives events and reconnects. max_line, max_event: bytes, see LineTooLong and EventTooLong.
    ids: with check_ids, whether the ids of events that brought one follow one another. shape: the fields of the last
    events; a decoder that is given the shape of a similar stream need not find it out.
    """

    __slots__ = (
        "_check_ids", "_comments", "_data", "_keep_comments", "_kind", "_own", "_retry", "ids", "last_event_id",
        "shape",
    )  # fmt: skip

    def __init__(
        self,
        *,
        max_line: int = DEFAULT_LIMIT,
        max_event: int = DEFAULT_LIMIT,
        check_ids: bool = False,
        shape: Shape = BARE,
    ) -> None:
        self.last_event_id = ""
        self.ids = IdSequence()
        self.shape = shape
        self._check_ids = check_ids
        self._comments = 0
        self._retry: int | None = None
        self._keep_comments = False
        super().__init__(max_line, max_event)

    def _begin(self) -> None:
        super()._begin()
        self._data: bytearray | None = None
        self._kind: bytes | bytearray = b""
        self._own: bytes | bytearray | None = None

    def reset_for_reconnect(self) -> None:
        """A new connection: the incomplete event and its id are dropped; the last id and retry stay."""
        self._settle()
        self._begin()

    @property
    def comments(self) -> int:
        """Comment lines so far."""
        self._settle()
        return self._comments

    @property
    def retry(self) -> int | None:
        """The reconnection time last sent, in milliseconds; None before."""
        self._settle()
        return self._retry

    def feed(self, chunk: bytes) -> list[Event]:
        """Events completed by this chunk. Raises LineTooLong or EventTooLong, from then on at every call."""
        if self._inside and 10 not in chunk and 13 not in chunk:
            line: Any = self._line  # all that a large event costs: see Lines._lengthen
            line += chunk
            if len(line) > self._max_line:
                self._lengthen(b"")
            return []
        events: list[Event] = []
        # A chunk that starts amid a line, after a CR or where a byte order mark may stand needs the exact rules first.
        if self._odd:
            left = self._careful(chunk, events)
            if left is None:
                return events
            chunk = left
        elif 13 in chunk:
            chunk = self._unify(chunk)
        buffer = self._tail + chunk if self._tail else chunk
        # Most services flush each event on its own, so a chunk is mostly one small event that is complete.
        if len(buffer) <= self._spill:
            if self.shape is BARE:
                if self._few(buffer, events):
                    return events
            elif buffer[-2:] == b"\n\n" and self._one(buffer, events):
                return events
        # Everything up to the last blank line is complete events; they are decoded as one block.
        cut = buffer.rfind(b"\n") + 1
        if cut:
            if cut == 1 or buffer[cut - 2] != 10:
                cut = buffer.rfind(b"\n\n", 0, cut) + 2
            if 1 < cut <= self._limit:
                if events:
                    events += self._blocks(buffer[:cut])
                else:
                    events = self._blocks(buffer[:cut])
                buffer = buffer[cut:]
        # A long remainder would be copied and scanned again with each chunk: its lines are taken one by one instead.
        if len(buffer) > self._spill:
            self._tail = b""
            self._absorb(buffer, events)
        else:
            self._tail = buffer
        return events

    def feed_with_comments(self, chunk: bytes) -> list[Event | Comment]:
        """Like ``feed``, with the comments among the events in the order of the stream; it is slower."""
        out: list[Event | Comment] = []
        self._keep_comments = True
        try:
            if self._tail:
                tail, self._tail = self._tail, b""
                self._absorb(tail, out)
            left: bytes | None = chunk
            if self._odd:
                left = self._careful(chunk, out)
            elif 13 in chunk:
                left = self._unify(chunk)
            if left:
                self._absorb(left, out)
        finally:
            self._keep_comments = False
        return out

    def _few(self, buffer: bytes, events: list[Event]) -> bool:
        """Take the buffer if its events, few and small, are one line of data each; cheaper then than _blocks."""
        parts = buffer.split(b"\n\n")
        tail = parts.pop()
        for part in parts:
            if part[:6] != b"data: " or 10 in part:
                return False
        last = self.last_event_id
        for part in parts:
            events.append(_new(Event, ("message", last, part[6:].decode("utf-8", "replace"))))
        self._tail = tail
        return True

    def _one(self, buffer: bytes, events: list[Event]) -> bool:
        """Take the buffer if it is one event of the known shape; cheaper then than _blocks."""
        # An incomplete character at the end becomes U+FFFD here, but a buffer that ends so is not a complete event.
        found = self.shape.one(buffer.decode("utf-8", "replace"))
        if found is None:
            return False
        if self.shape.numbered:
            self.last_event_id = own = found["id"]
            if self._check_ids:
                self.ids.check(own)
        events.append(_new(Event, (found["event"] or "message", self.last_event_id, found["data"])))
        self._tail = b""
        return True

    def _blocks(self, block: bytes) -> list[Event]:
        """The events of a block that starts with an event, or a comment, and ends with a blank line."""
        # Strict decoding is the faster one; a line end never is part of a character, so a block may be decoded alone.
        try:
            text = block.decode()
        except UnicodeDecodeError:
            text = block.decode("utf-8", "replace")
        ends = text.count("\n")
        form = self.shape
        if form is BARE:
            values = text.split(_BETWEEN)
            if len(values) * 2 == ends and text.startswith("data: "):
                values[0] = values[0][6:]
                values[-1] = values[-1][:-2]
                last = self.last_event_id
                return [_new(Event, ("message", last, value)) for value in values]
        if block[0] == 58:
            beats = text.count("\n\n:") + 1
            if beats * 2 == ends:
                self._comments += beats
                return []
        # As many line ends as the events found have means that nothing was skipped between them.
        found = form.findall(text)
        if len(found) * form.ends == ends:
            return self._built(form, found)
        other = shape_of(block)
        if other is not None and other is not form:
            self.shape = other
            found = other.findall(text)
            if len(found) * other.ends == ends:
                return self._built(other, found)
        return self._mixed(text)

    def _built(self, form: Shape, found: list[Any]) -> list[Event]:
        events = form.build(found, self.last_event_id)
        self.last_event_id = events[-1].id
        if self._check_ids and form.numbered:
            for event in events:
                self.ids.check(event.id)
        return events

    def _mixed(self, text: str) -> list[Event]:
        """As _blocks, for events of any form, comments included: the rules of section 9.2.6, line by line."""
        events: list[Event] = []
        data: list[str] = []
        kind = ""
        own = None
        for line in text.split("\n"):
            if not line:
                # The id counts even if the event has no data and is therefore not dispatched.
                if own is not None:
                    self.last_event_id = own
                if data:
                    event = Event(kind or "message", self.last_event_id, "\n".join(data))
                    events.append(event)
                    data = []
                    if self._check_ids and own is not None:
                        self.ids.check(event.id)
                own = None
                kind = ""
                continue
            name, _, value = line.partition(":")
            if value[:1] == " ":
                value = value[1:]
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                if "\0" not in value:
                    own = value
            elif name == "retry":
                self._ask(value.encode())
            elif not name:
                self._comments += 1
        return events

    def _take(self, line: bytes | bytearray, out: list[Event | Comment]) -> None:
        if not line:
            self._dispatch(out)
            return
        if type(line) is bytearray and not self._data and line[:5] == b"data:":
            # The line becomes the data: a large event is never copied before it is decoded.
            del line[: 6 if line[5:6] == b" " else 5]
            line += b"\n"
            self._data = line
            self._check_size(line)
            return
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data = self._data or bytearray()
            data += value
            data += b"\n"
            self._data = data
            self._check_size(data)
        elif name == b"event":
            self._kind = value
        elif name == b"id":
            if b"\0" not in value:
                self._own = value
        elif name == b"retry":
            self._ask(value)
        elif not name:
            self._comments += 1
            if self._keep_comments:
                out.append(Comment(str(line[1:], "utf-8", "replace")))

    def _check_size(self, data: bytearray) -> None:
        if len(data) > self._max_event:
            raise self._event_too_long(len(data))

    def _dispatch(self, out: list[Event | Comment]) -> None:
        identified = self._own is not None
        if self._own is not None:
            self.last_event_id, self._own = str(self._own, "utf-8", "replace"), None
        kind, self._kind = str(self._kind, "utf-8", "replace"), b""
        data = self._data
        if data:
            self._data = None
            del data[-1:]
            event = Event(kind or "message", self.last_event_id, str(data, "utf-8", "replace"))
            out.append(event)
            if self._check_ids and identified:
                self.ids.check(event.id)

    def _pending(self) -> bool:
        return bool(self._data or self._kind) or self._own is not None

    def _ask(self, value: bytes | bytearray) -> None:
        asked = reconnection_time(value)
        if asked is not None:
            self._retry = asked
