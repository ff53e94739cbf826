"""Any split of any bytes gives the same events, nothing but the two limits is raised, and memory is bounded."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.sse.decoder import Decoder, EventTooLong, LineTooLong
from harness.core.sse.shapes import BARE, SHAPES
from tests.core.sse_chunks import decoded
from tests.core.sse_plain import interpret

ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r", b"\r\n", b"\n\n"])
NAMES = st.sampled_from(
    [b"data", b"data", b"event", b"id", b"retry", b"", b"Data", b"x", b"\xef\xbb\xbfdata"]
)
VALUES = st.one_of(
    st.binary(max_size=12),
    st.text(max_size=6).map(str.encode),
    st.sampled_from([b"", b" ", b"7", b"a\0", b":", b"data:", b"\xe2\x82", b"\xef\xbb\xbf", b"x" * 600]),
)
LINES = st.builds(lambda name, colon, value, end: name + colon + value + end, NAMES,
                  st.sampled_from([b":", b": ", b""]), VALUES, ENDS)  # fmt: skip
REGULAR = st.builds(
    lambda event, count: event * count,
    st.sampled_from([
        b"data: a\n\n", b"data:a\n\n", b": beat\n\n", b"id: 1\ndata: a\n\n", b"event: s\ndata: a\n\n",
        b"id: 1\nevent: s\ndata: a\n\n", b"data: a\nid: 2\n\n", b"data: a\nevent: s\nid: 3\n\n", b"data: a\r\n\r\n",
    ]),
    st.integers(1, 5),
)  # fmt: skip
STREAMS = st.one_of(
    st.lists(st.one_of(LINES, REGULAR), max_size=12).map(b"".join),
    st.lists(REGULAR, max_size=6).map(b"".join),
    st.binary(max_size=60),
    st.text("data: \r\n\x00é:id", max_size=60).map(str.encode),
)


@st.composite
def cut(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = STREAMS) -> list[bytes]:
    """A stream in chunks of any sizes, empty ones too."""
    stream = draw(streams)
    if draw(st.booleans()):
        size = draw(st.sampled_from([1, 2, 3, 5, 8, 13, 40, 200]))
        return [stream[at : at + size] for at in range(0, len(stream), size)]
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


SPLIT: dict[str, Any] = {"chunks": cut()}
LOOKED_AT: dict[str, Any] = {"chunks": cut(), "looks": st.lists(st.booleans(), min_size=40, max_size=40)}
RECONNECTS: dict[str, Any] = {"streams": st.lists(cut(), max_size=4)}
LIMITS: dict[str, Any] = {
    "chunks": cut(),
    "other": st.integers(1, 50),
    "line": st.integers(1, 40),
    "event": st.integers(1, 40),
}


@settings(max_examples=100, deadline=None)
@given(**SPLIT)
def test_any_split_of_any_bytes_gives_the_events_of_the_standard(chunks: list[bytes]) -> None:
    assert decoded(chunks) == interpret(b"".join(chunks))


@settings(max_examples=75, deadline=None)
@given(**LOOKED_AT)
def test_reading_the_decoder_between_chunks_changes_nothing(chunks: list[bytes], looks: list[bool]) -> None:
    decoder, plain = Decoder(), Decoder()
    events, untouched = [], []
    for number, chunk in enumerate(chunks):
        events += decoder.feed(chunk)
        untouched += plain.feed(chunk)
        if looks[number % 40]:
            before = interpret(b"".join(chunks[: number + 1]))
            assert (decoder.retry, decoder.last_event_id) == (before.retry, before.last_event_id)
            assert decoder.comments == len(before.comments)
    wanted = interpret(b"".join(chunks))
    assert events == untouched == wanted.events
    assert decoder.comments == plain.comments == len(wanted.comments)


@settings(max_examples=50, deadline=None)
@given(**RECONNECTS)
def test_reconnects_keep_the_id_and_nothing_else(streams: list[list[bytes]]) -> None:
    decoder = Decoder()
    last = ""
    for chunks in streams:
        wanted = interpret(b"".join(chunks))
        events = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert [(event.type, event.data) for event in events] == [(e.type, e.data) for e in wanted.events]
        last = _last(b"".join(chunks), last)
        assert decoder.last_event_id == last
        decoder.reset_for_reconnect()


def _last(stream: bytes, before: str) -> str:
    bom = b"\xef\xbb\xbf" if stream.startswith(b"\xef\xbb\xbf") else b""
    seeded = bom + b"id: " + before.encode() + b"\n\n" + stream.removeprefix(bom)
    return interpret(seeded).last_event_id


@settings(max_examples=75, deadline=None)
@given(**LIMITS)
def test_limits_do_not_depend_on_the_chunks(chunks: list[bytes], other: int, line: int, event: int) -> None:
    stream = b"".join(chunks)
    again = [stream[at : at + other] for at in range(0, len(stream), other)]
    outcomes = set()
    for parts in (chunks, again, [stream]):
        for shape in (BARE, SHAPES["id", "data"]):
            outcomes.add(_outcome(Decoder(max_line=line, max_event=event, shape=shape), parts))
    assert len(outcomes) == 1


def _outcome(decoder: Decoder, chunks: list[bytes]) -> tuple[int, str, str]:
    """(events, error, last id); anything but the two limits goes through."""
    events = 0
    for chunk in chunks:
        try:
            events += len(decoder.feed(chunk))
        except (LineTooLong, EventTooLong) as error:
            return events + len(error.events), type(error).__name__, decoder.last_event_id
    return events, "", decoder.last_event_id


LIMIT = 4 << 10


@pytest.mark.parametrize(
    "unit",
    [b"x", b"data: x\n", b"data:", b": x", b"id: 1\n", b"event: x\n", b"retry: 1\n", b"foo\n", b"\n", b"\r",
     b"data: x\n\n", b":\n\n", b"\xff", b"\0", b"id: 1\nevent: x\ndata: x\n\n"],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 700, LIMIT])
def test_memory_is_bounded_by_the_limits(unit: bytes, size: int) -> None:
    """Whatever a peer repeats: a line and an event, with what a growing buffer reserves, and no more."""
    # Chunks of one byte are slow to feed, so their limit is smaller.
    limit = LIMIT if size > 1 else LIMIT // 4
    total = 6 * limit if size > 1 else 3 * limit
    chunk = (unit * (size // len(unit) + 1))[: max(size, len(unit))] if size > 1 else b""
    most = 3 * limit, 3 * limit + (40 * max(size, 1024) if size > 1 else 1024)
    # Another thread of this process, such as that of pytest-xdist, may allocate meanwhile: what the decoder itself
    # holds is there each time.
    for _ in range(3):
        found = _held_and_peak(unit, chunk, limit, range(0, total, max(size, 1)))
        if found[0] < most[0] and found[1] < most[1]:
            break
    assert found[0] < most[0]
    assert found[1] < most[1]


def _held_and_peak(unit: bytes, chunk: bytes, limit: int, positions: range) -> tuple[int, int]:
    """Bytes allocated after a decoder was fed, and at most meanwhile."""
    decoder = Decoder(check_ids=True, max_line=limit, max_event=limit)
    tracemalloc.start()
    try:
        for at in positions:
            try:
                decoder.feed(chunk or unit[at % len(unit) : at % len(unit) + 1])
            except (LineTooLong, EventTooLong):
                break
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


@given(field=st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_field_names_of_a_peer_are_not_remembered(field: list[str]) -> None:
    before = len(SHAPES)
    stream = "".join(f"{name}: x\n" for name in field) + "data: y\n\n"
    assert decoded([stream.encode()]) == interpret(stream.encode())
    assert len(SHAPES) == before == 11


@pytest.mark.soak(reason="the properties above on four times as many examples: four seconds of a core")
@pytest.mark.parametrize(
    ("short", "values", "examples"),
    [
        (test_any_split_of_any_bytes_gives_the_events_of_the_standard, SPLIT, 400),
        (test_reading_the_decoder_between_chunks_changes_nothing, LOOKED_AT, 300),
        (test_reconnects_keep_the_id_and_nothing_else, RECONNECTS, 200),
        (test_limits_do_not_depend_on_the_chunks, LIMITS, 300),
    ],
    ids=("split", "looks", "reconnects", "limits"),
)
def test_the_same_on_four_times_as_many_examples(short: Any, values: dict[str, Any], examples: int) -> None:
    settings(max_examples=examples, deadline=None)(given(**values)(short.hypothesis.inner_test))()
