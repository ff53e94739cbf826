"""One stream in every chunking that matters, through the decoder in each way that it can be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.core.sse.decoder import Comment, Decoder, Event
from harness.core.sse.shapes import SHAPES


def chunkings(stream: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, in twos and sevens, cut in two at each place, and with empty chunks between. Within a long
    run of one byte, one place in 64 stands for the others."""
    yield [stream]
    for size in (1, 2, 7):
        yield [stream[at : at + size] for at in range(0, len(stream), size)]
    for at in range(1, len(stream)):
        around = stream[max(0, at - 8) : at + 8]
        if at % 64 == 0 or around != around[:1] * 16:
            yield [stream[:at], stream[at:]]
    yield [part for at in range(len(stream)) for part in (b"", stream[at : at + 1], b"")]


@dataclass(frozen=True)
class Seen:
    """The result of decoding a stream."""

    events: list[Event]
    last_event_id: str
    retry: int | None
    comments: tuple[str, ...]


def decoded(chunks: list[bytes], *, last: str = "") -> Seen:
    """Decode by all three methods, which must agree."""
    decoder, speaking, checking = Decoder(), Decoder(), Decoder(check_ids=True, shape=SHAPES["id", "data"])
    decoder.last_event_id = speaking.last_event_id = checking.last_event_id = last
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    spoken = [item for chunk in chunks for item in speaking.feed_with_comments(chunk)]
    comments = tuple(item.text for item in spoken if isinstance(item, Comment))
    assert [item for item in spoken if isinstance(item, Event)] == events
    assert [event for chunk in chunks for event in checking.feed(chunk)] == events
    assert speaking.last_event_id == checking.last_event_id == decoder.last_event_id
    assert decoder.comments == speaking.comments == checking.comments == len(comments)
    assert decoder.retry == speaking.retry == checking.retry
    return Seen(events, decoder.last_event_id, decoder.retry, comments)


def seen(stream: bytes, *, last: str = "") -> Seen:
    """The result, which must be the same under every chunking."""
    results = [decoded(chunks, last=last) for chunks in chunkings(stream)]
    for other in results[1:]:
        assert other == results[0]
    return results[0]


def events(stream: bytes) -> list[tuple[str, str, str]]:
    """(type, id, data) of every event, the same under every chunking."""
    return [tuple(event) for event in seen(stream).events]


def data(stream: bytes) -> list[str]:
    """The data of every event, the same under every chunking."""
    return [event.data for event in seen(stream).events]
