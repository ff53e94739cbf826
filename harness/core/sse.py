"""Server-sent events, sans-I/O: bytes in, events out; any chunking gives the same events.

Source: the WHATWG HTML Living Standard, section 9.2 (server-sent events). docs/sse.md has the rules one by one.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.core.errors import EXIT_SERVICE, HarnessError

DEFAULT_LIMIT = 1 << 20
MAX_RETRY = (1 << 53) - 1

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One dispatched event. id: the last event id at its dispatch, its own or an earlier one.

    A tuple, because making one costs a quarter of a frozen dataclass.
    """

    type: str
    id: str
    data: str


class Comment(NamedTuple):
    """One comment line, without its colon: what services send as a heartbeat."""

    text: str


class StreamLimit(HarnessError, ValueError):
    """The stream passed a limit and cannot be decoded further.

    events: what the same chunk had completed before.
    """

    exit_code = EXIT_SERVICE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.events: list[Event] = []


class LineTooLong(StreamLimit):
    """A line of more bytes than max_line."""


class EventTooLong(StreamLimit):
    """An event with more bytes of data than max_event."""


class Decoder:
    """Feed it bytes as they come.

    last_event_id outlives events and reconnects; retry is the reconnection time last sent (ms), None before;
    comments counts comment lines.
    """

    def __init__(self, *, max_line: int = DEFAULT_LIMIT, max_event: int = DEFAULT_LIMIT) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self.comments = 0
        self.ids = 0
        self._max_line = max_line
        self._max_event = max_event
        self.reset_for_reconnect()

    def reset_for_reconnect(self) -> None:
        """A new connection: the incomplete event and its id are dropped; last_event_id and retry stay."""
        self._line = bytearray()
        self._data = bytearray()
        self._type = b""
        self._id: bytes | None = None
        self._after_cr = False
        self._start = True
        self._failure: StreamLimit | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Events completed by this chunk. Raises LineTooLong or EventTooLong, and again until a reset."""
        events: list[Event | Comment] = []
        self._feed(chunk, events, False)
        return events  # type: ignore[return-value]

    def feed_with_comments(self, chunk: bytes) -> list[Event | Comment]:
        """As feed, with the comments among the events in the order of the stream."""
        events: list[Event | Comment] = []
        self._feed(chunk, events, True)
        return events

    def _feed(self, chunk: bytes, out: list[Event | Comment], comments: bool) -> None:
        if self._failure is not None:
            raise self._failure
        if not chunk:
            return
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
            self._after_cr = False
            if not chunk:
                return
        self._after_cr = chunk[-1:] == b"\r"
        *lines, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        try:
            for line in lines:
                if self._line:
                    self._line += line
                    line = bytes(self._line)  # noqa: PLW2901
                    self._line.clear()
                self._take(line, out, comments)
            self._line += rest
            if len(self._line) > self._max_line:
                held = self._line[3:] if self._start and self._line.startswith(_BOM) else self._line
                if len(held) > self._max_line and not (self._start and _BOM.startswith(held)):
                    raise LineTooLong(
                        f"a line of more than {self._max_line} bytes: raise max_line or mend the service"
                    )
        except StreamLimit as error:
            error.events = [item for item in out if isinstance(item, Event)]
            self.reset_for_reconnect()
            self._failure = error
            raise

    def _take(self, line: bytes, out: list[Event | Comment], comments: bool) -> None:
        if self._start:
            self._start = False
            if line.startswith(_BOM):
                line = line[3:]
        if len(line) > self._max_line:
            raise LineTooLong(
                f"a line of more than {self._max_line} bytes: raise max_line or mend the service"
            )
        if not line:
            self._dispatch(out)
            return
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data += value
            self._data += b"\n"
            if len(self._data) > self._max_event:
                raise EventTooLong(
                    f"an event of more than {self._max_event} bytes: raise max_event or mend the service"
                )
        elif name == b"event":
            self._type = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value
        elif name == b"retry":
            if value.isdigit():
                self.retry = min(int(value.lstrip(b"0")[:17] or b"0"), MAX_RETRY)
        elif not name:
            self.comments += 1
            if comments:
                out.append(Comment(line[1:].decode("utf-8", "replace")))

    def _dispatch(self, out: list[Event | Comment]) -> None:
        own = self._id
        if own is not None:
            self.last_event_id = own.decode("utf-8", "replace")
            self._id = None
        kind = self._type
        self._type = b""
        if not self._data:
            return
        if own is not None:
            self.ids += 1
        data = self._data[:-1].decode("utf-8", "replace")
        self._data.clear()
        out.append(Event(kind.decode("utf-8", "replace") or "message", self.last_event_id, data))


class Counter:
    """As Decoder, but it only counts: no event is built.

    events, ids (events that brought an id of their own), comments, bytes; retry and last_event_id as in
    Decoder. With check_ids, ids that are whole numbers are compared with the one before: missed (skipped
    numbers), repeated (the same again), disordered (below the one before).
    """

    def __init__(
        self, *, max_line: int = DEFAULT_LIMIT, max_event: int = DEFAULT_LIMIT, check_ids: bool = False
    ) -> None:
        self.events = self.bytes = self.missed = self.repeated = self.disordered = 0
        self._check_ids = check_ids
        self._previous = -1
        self._highest = -1
        self._decoder = Decoder(max_line=max_line, max_event=max_event)

    @property
    def ids(self) -> int:
        return self._decoder.ids

    @property
    def comments(self) -> int:
        return self._decoder.comments

    @property
    def retry(self) -> int | None:
        return self._decoder.retry

    @property
    def last_event_id(self) -> str:
        return self._decoder.last_event_id

    def reset_for_reconnect(self) -> None:
        """A new connection: the incomplete event and its id are dropped; the counts and the last id stay."""
        self._decoder.reset_for_reconnect()

    def feed(self, chunk: bytes) -> int:
        """How many events this chunk completed. Raises LineTooLong or EventTooLong."""
        self.bytes += len(chunk)
        found = self._decoder.feed(chunk)
        self.events += len(found)
        return len(found)
