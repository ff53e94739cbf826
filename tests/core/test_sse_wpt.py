"""Byte vectors for what the web-platform-tests' eventsource/format-* cases check, written afresh."""

from __future__ import annotations

import pytest

from tests.core.sse_chunks import Seen, seen

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        pytest.param(BOM + b"data: 1\n\n", [("message", "1")], id="format-bom"),
        pytest.param(BOM * 2 + b"data: 1\n\ndata: 2\n\ndata: 3\n\n", [("message", "2"), ("message", "3")],
                     id="format-bom-2"),
        pytest.param(b": one\ndata: 1\n:\n:" + b"c" * 4000 + b"\ndata: 2\n:two\r:three\n\n", [("message", "1\n2")],
                     id="format-comments"),
        pytest.param(b"data: 1\n\ndata\ndata\n\ndata: 2", [("message", "1"), ("message", "\n")],
                     id="format-data-before-final-empty-line"),
        pytest.param(b"data:\n\ndata\ndata\n\ndata:test\n\n", [("message", ""), ("message", "\n"),
                     ("message", "test")], id="format-field-data"),
        pytest.param(b"event: test\ndata: x\n\ndata: x\n\n", [("test", "x"), ("message", "x")],
                     id="format-field-event"),
        pytest.param(b"event: \ndata: data\n\n", [("message", "data")], id="format-field-event-empty"),
        pytest.param(b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\n\n",
                     [("message", "test\n")], id="format-field-parsing-and-unknown"),
        pytest.param(b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n "
                     b"data:32\ndata:4\n\n", [("message", "\0\n 2\n1\n3\n\n4")], id="format-field-parsing"),
        pytest.param(b"retry: 1000\nretry: 1000x\ndata: x\n\n", [("message", "x")], id="format-field-retry-bogus"),
        pytest.param(b"data:test\n\ndata\nda\n\n", [("message", "test"), ("message", "")],
                     id="format-field-unknown-prefix"),
        pytest.param(b"data: a b\n\ndata:  a\n\ndata:\ta\n\n", [("message", "a b"), ("message", " a"),
                     ("message", "\ta")], id="format-leading-space"),
        pytest.param(b"data:test\r\ndata\ndata:test\r\n\r", [("message", "test\n\ntest")], id="format-newlines"),
        pytest.param(b"data:\0\n\n\n\n", [("message", "\0")], id="format-null-character"),
        pytest.param("data: ok…\n\ndata: €\n\n".encode(), [("message", "ok…"), ("message", "€")], id="format-utf-8"),
        pytest.param("data: ok…\n\n".encode("windows-1251", "replace") + b"data: \xd3\n\n",
                     [("message", "ok\ufffd"), ("message", "\ufffd")], id="format-mime-charset-ignored"),
    ],
)  # fmt: skip
def test_format(stream: bytes, wanted: list[tuple[str, str]]) -> None:
    assert [(event.type, event.data) for event in seen(stream).events] == wanted


def test_format_field_id() -> None:
    found = seen(b"id: 1\ndata: hello\n\ndata: again\n\nid: \xe2\x80\xa6\ndata: x\n\n")
    assert [event.id for event in found.events] == ["1", "1", "…"]


def test_format_field_id_2() -> None:
    found = seen(b"id: 1\ndata: 1\n\ndata: 2\n\nid: 2\n\ndata: 3\n\nid\ndata: 4\n\ndata: 5\n\n")
    assert [event.id for event in found.events] == ["1", "1", "2", "", ""]


@pytest.mark.parametrize("value", [b"\0\0x", b"x\0", b"\0", b"x\0x", b" \0"])
def test_format_field_id_null(value: bytes) -> None:
    found = seen(b"id: keep\ndata: a\n\nid:" + value + b"\ndata: b\n\n")
    assert [event.id for event in found.events] == ["keep", "keep"]


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (b"retry:1000", 1000),
        (b"retry: 03000", 3000),
        (b"retry", None),
        (b"retry:2000x", None),
        (b"retry:  1", None),
    ],
)
def test_format_field_retry(field: bytes, wanted: int | None) -> None:
    found: Seen = seen(field + b"\ndata: x\n\n")
    assert (found.retry, [event.data for event in found.events]) == (wanted, ["x"])
