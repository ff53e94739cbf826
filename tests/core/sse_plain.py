"""The algorithm of the standard (HTML Living Standard, 9.2.6) as a few lines of Python that take a whole stream."""

from __future__ import annotations

from harness.core.sse.decoder import MAX_RETRY, Event
from tests.core.sse_chunks import Seen


def interpret(stream: bytes) -> Seen:
    """The result of decoding a stream that is neither cut nor limited."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events: list[Event] = []
    comments: list[str] = []
    data, kind, own, last, retry = "", "", None, "", None
    for line in lines[:-1]:  # what follows the last line end is incomplete
        if not line:
            last = last if own is None else own
            if data:
                events.append(Event(kind or "message", last, data.removesuffix("\n")))
            data, kind, own = "", "", None
        elif line.startswith(":"):
            comments.append(line[1:])
        else:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data += value + "\n"
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                own = value
            elif name == "retry" and value and all(digit in "0123456789" for digit in value):
                retry = min(int(value), MAX_RETRY)
    return Seen(events, last, retry, tuple(comments))
