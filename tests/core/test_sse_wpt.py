"""What the web-platform-tests' eventsource/format-* cases check, as byte vectors written afresh.

CASES is their directory's whole list, without suffixes (.any.js, .window.js), as copied in Node.js
(test/fixtures/wpt/eventsource at 698a391).
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from harness.core.sse.decoder import Decoder
from harness.http import causes
from tests.core.sse_chunks import chunkings, seen

CASES = [
    "format-bom",
    "format-bom-2",
    "format-comments",
    "format-data-before-final-empty-line",
    "format-field-data",
    "format-field-event",
    "format-field-event-empty",
    "format-field-id",
    "format-field-id-2",
    "format-field-id-3",
    "format-field-id-null",
    "format-field-parsing",
    "format-field-retry",
    "format-field-retry-bogus",
    "format-field-retry-empty",
    "format-field-unknown",
    "format-leading-space",
    "format-mime-bogus",
    "format-mime-trailing-semicolon",
    "format-mime-valid-bogus",
    "format-newlines",
    "format-null-character",
    "format-utf-8",
]

BOM = b"\xef\xbb\xbf"
LONG = b"x" * 2048

STREAMS: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "format-bom": (
        BOM + b"data: 1\n\n" + BOM + b"data: 2\n\ndata: 3\n\n",
        [("message", "1"), ("message", "3")],
    ),
    "format-bom-2": (BOM * 2 + b"data: 1\n\ndata: 2\n\ndata: 3\n\n", [("message", "2"), ("message", "3")]),
    "format-comments": (
        b"data:1\r:\0\n:\r\ndata:2\n:" + LONG + b"\rdata:3\n:data:no\r:" + LONG + b"\ndata:4\n\n",
        [("message", "1\n2\n3\n4")],
    ),
    "format-data-before-final-empty-line": (b"retry:1000\ndata:one\n\nid:two\ndata:two", [("message", "one")]),
    "format-field-data": (
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        [("message", ""), ("message", "\n"), ("message", "test")],
    ),
    "format-field-event": (b"event:test\ndata:x\n\ndata:x\n\n", [("test", "x"), ("message", "x")]),
    "format-field-event-empty": (b"event:\ndata:x\n\nevent: \ndata:y\n\n", [("message", "x"), ("message", "y")]),
    "format-field-parsing": (
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\n"
        b"data:4\n\n",
        [("message", "\0\n 2\n1\n3\n\n4")],
    ),
    "format-field-unknown": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [("message", "test\n\ntest")],
    ),
    "format-leading-space": (b"data:\ttest\rdata: \ndata:test\n\n", [("message", "\ttest\n\ntest")]),
    "format-newlines": (b"data:test\r\ndata\ndata:test\r\n\r", [("message", "test\n\ntest")]),
    "format-null-character": (b"data:\0\n\n\n\n", [("message", "\0")]),
    "format-utf-8": ("data:ok…\n\ndata:€\n\n".encode() + b"data:\x85\n\n",
                     [("message", "ok…"), ("message", "€"), ("message", "\ufffd")]),
}  # fmt: skip


@pytest.mark.parametrize("case", list(STREAMS))
def test_each_stream_gives_the_events_of_the_standard(case: str) -> None:
    stream, wanted = STREAMS[case]
    found = seen(stream)
    assert [(event.type, event.data) for event in found.events] == wanted
    assert found.last_event_id == ""


class Ids(NamedTuple):
    """Connections one after another, the last event id before the first of them, and (data, id) of what they bring."""

    before: str
    connections: list[bytes]
    wanted: list[tuple[str, str]]


HELLO, ELLIPSIS = "id:…\nretry:200\ndata:hello\n\n".encode(), "data:…\n\n".encode()
PERSISTS = b"id: 1\ndata: 1\n\ndata: 2\n\nid: 2\ndata: 3\n\ndata: 4\n\n"
IDS: dict[str, list[Ids]] = {
    "format-field-id": [Ids("", [HELLO, ELLIPSIS], [("hello", "…"), ("…", "…")])],
    "format-field-id-2": [Ids("", [HELLO, ELLIPSIS, ELLIPSIS], [("hello", "…"), ("…", "…"), ("…", "…")])],
    "format-field-id-3": [
        Ids("", [PERSISTS], [("1", "1"), ("2", "1"), ("3", "2"), ("4", "2")]),
        Ids("", [b"id: 1\ndata: 1\n\nid:\ndata: 2\n\ndata: 3\n\n"], [("1", "1"), ("2", ""), ("3", "")]),
        Ids("", [b"id: 1\ndata: 1\n\nid\ndata: 2\n\ndata: 3\n\n"], [("1", "1"), ("2", ""), ("3", "")]),
    ],
    "format-field-id-null": [
        Ids(before, [b"id:" + value + b"\ndata:x\n\n"] * 2, [("x", before), ("x", before)])
        for value in (b"\0\0", b"x\0", b"\0x", b"x\0x", b" \0")
        for before in ("", "kept")
    ],
    # The incomplete event's id must not stick: the next connection asks with what was there before it.
    "format-data-before-final-empty-line": [
        Ids("", [b"retry:1000\ndata:one\n\nid:two\ndata:two"] * 2, [("one", ""), ("one", "")])
    ],
}


@pytest.mark.parametrize("case", list(IDS))
def test_the_last_event_id_persists_over_connections(case: str) -> None:
    for before, connections, wanted in IDS[case]:
        for parts in zip(*(list(chunkings(one)) for one in connections), strict=False):
            decoder = Decoder()
            decoder.last_event_id = before
            found = []
            for chunks in parts:
                found += [event for chunk in chunks for event in decoder.feed(chunk)]
                decoder.reset_for_reconnect()
            assert [(event.data, event.id) for event in found] == wanted
            assert decoder.last_event_id == wanted[-1][1]


RETRIES = {
    "format-field-retry": [(b"retry:03000\ndata:x\n\n", 3000)],
    "format-field-retry-bogus": [
        (b"retry:3000\nretry:1000x\ndata:x\n\n", 3000),
        (b"retry:1000x\ndata:x\n\n", None),
        (b"retry:  1\ndata:x\n\n", None),
    ],
    "format-field-retry-empty": [(b"retry\ndata:x\n\n", None), (b"retry:70\nretry:\ndata:x\n\n", 70)],
}


@pytest.mark.parametrize("case", list(RETRIES))
def test_each_retry_field_sets_the_reconnection_time_or_is_ignored(case: str) -> None:
    for stream, wanted in RETRIES[case]:
        found = seen(stream)
        assert (found.retry, [event.data for event in found.events]) == (wanted, ["x"])


TYPES = {  # those of a response; on the wire: test_point_13_anything_but_200_and_the_mime_type_fails_for_good
    "format-mime-bogus": (b"x bogus", causes.CONTENT_TYPE),
    "format-mime-trailing-semicolon": (b"text/event-stream;", None),
    "format-mime-valid-bogus": (b"text/x-bogus", causes.CONTENT_TYPE),
    "format-utf-8": (b"text/event-stream;charset=windows-1252", None),
}


@pytest.mark.parametrize("case", list(TYPES))
def test_type_of_the_response(case: str) -> None:
    given, wanted = TYPES[case]
    assert causes.of_response(200, given, b"", "", streaming=True) == wanted


def test_every_case_has_a_vector() -> None:
    assert len(CASES) == len(set(CASES)) == 23
    assert set(CASES) == {*STREAMS, *IDS, *RETRIES, *TYPES}
