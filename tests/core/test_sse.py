"""Points 1 to 11 of the decoder's checklist, each under every chunking."""

from __future__ import annotations

import pytest

from harness.core.sse.decoder import MAX_RETRY, Comment, Decoder, Event, EventTooLong, LineTooLong
from tests.core.sse_chunks import chunkings, data, events, seen

BOM = b"\xef\xbb\xbf"


def test_point_01_utf8_with_replacement() -> None:
    assert data("data: ok é 漢 🙂\n\n".encode()) == ["ok é 漢 🙂"]
    assert data(b"data: \xff|\xe2\x82|\xf0\x9f\x99|\xc0\xaf\n\n") == ["�|�|�|��"]
    assert data(b"data: \xe2\x82\ndata: \xac\n\n") == ["�\n�"]  # a line end is never part of a character
    assert events(b"event: \xff\nid: \xfe\ndata: x\n\n") == [("�", "�", "x")]


def test_point_01_one_leading_bom_is_stripped() -> None:
    assert data(BOM + b"data: x\n\n") == ["x"]
    assert data(BOM + BOM + b"data: x\n\ndata: y\n\n") == ["y"]  # the second is part of a field name
    assert data(b"data: x\n\n" + BOM + b"data: y\n\ndata: z\n\n") == ["x", "z"]
    assert data(b"\n" + BOM + b"data: y\n\n") == []
    assert data(b"data: " + BOM + b"x\n\n") == ["﻿x"]
    assert data(BOM[:2] + b"data: x\n\ndata: y\n\n") == ["y"]  # the beginning of one is none


def test_point_02_line_ends() -> None:
    for end in (b"\n", b"\r", b"\r\n"):
        assert data(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])) == ["a\nb", "c"]
    assert data(b"data: a\r\n\rdata: b\n\r\n\rdata: c\r\r") == ["a", "b", "c"]
    for other in ("\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c", "\x1e"):
        assert data(f"data: a{other}b\n\n".encode()) == [f"a{other}b"]


def test_point_02_a_cr_at_the_end_of_a_chunk_completes_the_line_at_once() -> None:
    decoder = Decoder()
    for feed in (decoder.feed, Decoder().feed_with_comments):
        assert [len(feed(chunk)) for chunk in (b"data: a\r\r", b"\ndata: b\n\r", b"\n", b"\ndata: c\n\n")] == [
            1, 1, 0, 1,
        ]  # fmt: skip


def test_point_03_a_blank_line_dispatches() -> None:
    assert data(b"data: a\n\ndata: b\n\n\n\ndata: c\n\n") == ["a", "b", "c"]


def test_point_03_a_comment_is_a_heartbeat_and_no_event() -> None:
    found = seen(b": beat\n\n:\n:no space\ndata: a\n: within\n\n::\n\n")
    assert found.comments == (" beat", "", "no space", " within", ":")
    assert [event.data for event in found.events] == ["a"]


def test_point_03_comments_keep_their_place() -> None:
    decoder = Decoder()
    found = decoder.feed_with_comments(b":1\ndata: a\n\n:2\n\ndata: b\n\n")
    assert found == [Comment("1"), Event("message", "", "a"), Comment("2"), Event("message", "", "b")]


def test_point_03_a_comment_counts_before_its_event_is_complete() -> None:
    decoder = Decoder()
    decoder.feed(b"data: a\n: beat\n")
    assert decoder.comments == 1
    decoder.feed(b"\n: be")
    assert decoder.comments == 1


def test_point_04_the_first_colon_splits_and_one_space_goes() -> None:
    assert data(b"data:a:b\n\ndata: a\n\ndata:  a\n\ndata:\ta\n\ndata: a \n\n") == [
        "a:b",
        "a",
        " a",
        "\ta",
        "a ",
    ]
    assert data(b"data\n\ndata\ndata\n\n") == ["", "\n"]
    assert data(b"Data: a\nDATA: b\n data: c\ndata : d\ndatax: e\nfoo\nfoo: bar\n\ndata: f\n\n") == ["f"]


def test_point_05_data_and_event() -> None:
    assert events(b"event: a\nevent: b\ndata: 1\ndata\ndata:2\n\n") == [("b", "", "1\n\n2")]
    assert events(b"data: 1\nevent: late\n\n") == [("late", "", "1")]


def test_point_06_ids() -> None:
    assert events(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid\ndata: c\n\nid: 3\nid: \0\ndata: d\n\n") == [
        ("message", "1", "a"),
        ("message", "1", "b"),
        ("message", "", "c"),
        ("message", "3", "d"),
    ]


@pytest.mark.parametrize(
    ("field", "milliseconds"),
    [
        (b"retry: 3000", 3000),
        (b"retry:03000", 3000),
        (b"retry: 0", 0),
        (b"retry: " + b"0" * 30 + b"7", 7),
        (b"retry: " + b"9" * 5000, MAX_RETRY),
        (b"retry", None),
        (b"retry:", None),
        (b"retry:  1", None),
        (b"retry: +1", None),
        (b"retry: -1", None),
        (b"retry: 1_000", None),
        (b"retry: 1000x", None),
        (b"retry: 1.5", None),
        (b"retry: 1 ", None),
        ("retry: ٣".encode(), None),
        ("retry: ²".encode(), None),
        (b"Retry: 1", None),
    ],
)
def test_point_07_retry(field: bytes, milliseconds: int | None) -> None:
    if len(field) < 100:
        assert seen(field + b"\n\n").retry == milliseconds
    decoder = Decoder()
    decoder.feed(field + b"\n")
    assert decoder.retry == milliseconds  # without a dispatch


def test_point_07_a_bad_retry_leaves_the_one_before() -> None:
    assert seen(b"retry: 5\nretry: x\n\nretry:\n\n").retry == 5


def test_point_08_dispatch() -> None:
    assert events(b"data:\n\n") == [("message", "", "")]
    assert events(b"data\ndata\n\n") == [("message", "", "\n")]
    assert events(b"id: 7\n\ndata: a\n\n") == [("message", "7", "a")]  # the id is set even without data
    assert events(b"event: x\n\ndata: a\n\n") == [("message", "", "a")]  # the type is not kept
    assert events(b"event:\ndata: a\n\n") == [("message", "", "a")]
    assert events(b"event: x\nevent\ndata: a\n\n") == [("message", "", "a")]
    assert seen(b"id: 7\n\n").last_event_id == "7"


def test_point_09_the_end_of_the_stream_discards_what_is_incomplete() -> None:
    for end in (b"", b"\n"):
        found = seen(b"id: 1\ndata: a\n\nid: 2\ndata: b" + end)
        assert found.events == [Event("message", "1", "a")]
        assert found.last_event_id == "1"


def test_point_09_an_incomplete_id_does_not_stick_over_a_reconnect() -> None:
    decoder = Decoder()
    decoder.feed(b"retry: 9\nid: 1\ndata: a\n\nid: 2\ndata: b\n")
    decoder.reset_for_reconnect()
    assert (decoder.last_event_id, decoder.retry) == ("1", 9)
    decoder.feed(BOM + b"data: c\n\n")  # every connection may start with one
    assert decoder.last_event_id == "1"


def test_point_10_the_id_persists() -> None:
    assert events(b"id: 1\ndata: a\n\ndata: b\n\n: c\n\nevent: x\ndata: d\n\n") == [
        ("message", "1", "a"),
        ("message", "1", "b"),
        ("x", "1", "d"),
    ]
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\n")
    decoder.reset_for_reconnect()
    assert decoder.feed(b"data: b\n\n") == [Event("message", "1", "b")]
    assert seen(b"data: a\n\n", last="9").events == [Event("message", "9", "a")]


def limited(stream: bytes, *, max_line: int, max_event: int) -> set[tuple[int, str]]:
    """(events before it, which limit), under every chunking."""
    found = set()
    for chunks in chunkings(stream):
        decoder = Decoder(max_line=max_line, max_event=max_event)
        events, name = 0, "none"
        for chunk in chunks:
            try:
                events += len(decoder.feed(chunk))
            except (LineTooLong, EventTooLong) as error:
                events += len(error.events)
                name = type(error).__name__
                with pytest.raises(type(error)):
                    decoder.feed(b"data: more\n\n")  # it stays broken
                break
        found.add((events, name))
    return found


def test_point_11_limits() -> None:
    fits = b"data: 45678\n\n"  # a line of 11 bytes, an event of 6
    assert limited(fits * 3, max_line=11, max_event=6) == {(3, "none")}
    assert limited(fits * 2 + b"data: 456789\n\n", max_line=11, max_event=99) == {(2, "LineTooLong")}
    assert limited(fits + b": 3456789012", max_line=11, max_event=99) == {(1, "LineTooLong")}
    assert limited(fits + b"unknown-field-name", max_line=11, max_event=99) == {(1, "LineTooLong")}
    assert limited(fits + b"data: 456789\n\n", max_line=99, max_event=6) == {(1, "EventTooLong")}
    assert limited(fits + b"data: 4\ndata: 6\ndata\ndata\ndata", max_line=11, max_event=6) == {(1, "none")}
    assert limited(fits + b"data: 4\ndata: 6\ndata\ndata\ndata\n", max_line=11, max_event=6) == {
        (1, "EventTooLong")
    }


def test_point_11_an_error_names_the_fix_and_a_reconnect_clears_it() -> None:
    decoder = Decoder(max_line=100, max_event=10)
    with pytest.raises(
        EventTooLong, match=r"with \d+ bytes of data or more; expected at most 10: raise max_event"
    ) as caught:
        decoder.feed(b"data: a\n\ndata: 0123456789\n\n")
    assert caught.value.events == (Event("message", "", "a"),)
    decoder.reset_for_reconnect()
    assert decoder.feed(b"data: b\n\n") == [Event("message", "", "b")]
    with pytest.raises(ValueError, match="limits of 0 and 5 bytes"):
        Decoder(max_line=0, max_event=5)


def test_a_large_event_is_whole() -> None:
    """Past what is kept as it came, in data that grows line by line, and in a line that becomes the data."""
    one, two = "x" * 5000 + "é", "y" * 700
    stream = f"id: 4\nevent: big\ndata: {one}\ndata:{two}\n\ndata: {two}\n\n".encode()
    for size in (1, 100, 511, 4096, len(stream)):
        decoder = Decoder()
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        found = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert found == [Event("big", "4", f"{one}\n{two}"), Event("message", "4", two)]
        assert decoder.last_event_id == "4"


@pytest.mark.parametrize("size", [1, 7, 200, 1024, 4096])
@pytest.mark.parametrize("name", [b"data:", b"data: "])
def test_a_long_line_meets_its_limits_to_the_byte(name: bytes, size: int) -> None:
    def error(length: int, line: int, event: int, before: bytes = b"") -> str:
        stream = before + name + b"x" * length + b"\n\n"
        decoder = Decoder(max_line=line, max_event=event)
        found = 0
        try:
            for at in range(0, len(stream), size):
                found += len(decoder.feed(stream[at : at + size]))
        except (LineTooLong, EventTooLong) as error:
            return type(error).__name__
        assert found == stream.count(b"\n\n")
        return ""

    full = name + b"x" * 2500 + b"\n\n"
    for before in (b"", full, full * 2):
        assert error(3000, 3000 + len(name), 3001, before) == ""
        assert error(3000, 2999 + len(name), 9000, before) == "LineTooLong"
        assert error(3000, 9000, 3000, before) == "EventTooLong"
    assert error(3000, 9000, 3003, b"data: a\n") == ""
    assert error(3000, 9000, 3002, b"data: a\n") == "EventTooLong"
