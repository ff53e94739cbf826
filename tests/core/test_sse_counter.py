"""What the counter says beyond the decoder: ids in order or not, the same under every chunking."""

from __future__ import annotations

import pytest

from harness.core.sse import Counter, LineTooLong
from tests.core.sse_chunks import chunkings
from tests.core.sse_plain import interpret


def checked(*ids: str, form: str = "id: {}\ndata: x\n\n") -> set[tuple[int, int, int, int]]:
    """(ids, missed, repeated, disordered) under every chunking."""
    stream = "".join(form.format(each) for each in ids).encode()
    found = set()
    for chunks in chunkings(stream):
        counter = Counter(check_ids=True)
        for chunk in chunks:
            counter.feed(chunk)
        assert counter.events == len(ids)
        found.add((counter.ids, counter.missed, counter.repeated, counter.disordered))
    return found


def test_ids_in_order() -> None:
    assert checked(*map(str, range(7, 30))) == {(23, 0, 0, 0)}
    assert checked("1", "2", "3", form="event: a\nid: {}\ndata: x\n\n") == {(3, 0, 0, 0)}
    assert checked("1", "2", "3", form=": c\nid:{}\ndata: x\ndata: y\n\n") == {(3, 0, 0, 0)}


def test_missed_repeated_and_disordered() -> None:
    assert checked("1", "2", "5", "6") == {(4, 2, 0, 0)}
    assert checked("1", "2", "2", "3") == {(4, 0, 1, 0)}
    assert checked("1", "3", "2", "4") == {(4, 1, 0, 1)}  # 2 was missed, then came late; 4 follows 3
    assert checked("1", "2", "3", "1", "2", "3", "4") == {(7, 0, 0, 1)}


def test_other_ids_are_not_compared() -> None:
    assert checked("1", "a", "", "2") == {(4, 0, 0, 0)}
    assert checked("1", "0" * 18 + "2", "2") == {(3, 0, 0, 0)}  # 19 digits are no number here
    assert checked("-1", "+2", "1_0", "3") == {(4, 0, 0, 0)}
    assert checked("9", "10", "11", "x", "12") == {(5, 0, 0, 0)}


def test_an_event_without_an_id_of_its_own_is_not_compared() -> None:
    counter = Counter(check_ids=True)
    counter.feed(b"id: 1\ndata: x\n\ndata: y\n\nid: 2\ndata: z\n\n")
    assert (counter.events, counter.ids, counter.missed, counter.repeated) == (3, 2, 0, 0)


def test_the_checks_go_on_after_a_reconnect() -> None:
    counter = Counter(check_ids=True)
    counter.feed(b"id: 1\ndata: x\n\nid: 2\nda")
    counter.reset_for_reconnect()
    counter.feed(b"id: 4\ndata: x\n\n")
    assert (counter.missed, counter.last_event_id) == (2, "4")


@pytest.mark.parametrize("check_ids", [False, True])
@pytest.mark.parametrize(
    ("known", "chunks"),
    [
        (b"data: a\n\n", [b"data: b\n\ndata: b", b"c\r\rdata: d\n\ndata: e", b"\n\n"]),
        (b"data: a\n\n", [b"data: b\n\ndata: b", b"c\nd"]),
        (b"data: a\n\n", [b"xdata: e\n\n", b"data: f\n\n"]),
        (b"data: a\n\n", [b": c\n\n: d", b"\n\ndata: f\n\n"]),
        (b": c\n\n", [b": d", b"\n\n: e\n\ndata: f\n\n"]),
        (b"id: 1\ndata: a\n\n", [b"id: 2\ndata: b\n\ndata: c\n\nid: 3\ndata: d\n\n"]),
        (b"id: 1\ndata: a\n\n", [b"id: 2\0\ndata: b\n\n"]),
        (b"id: 1\ndata: a\n\n", [b"id: 2\ndata: b\n\nid: 3\0\ndata: c\n\nxid: 4\ndata: d\n\n"]),
        (b"id: 1\nevent: x\ndata: a\n\n", [b"id: 2\nevent: x\nevent: y\n\nid: 3\ndata: c\ndata: d\n\n"]),
    ],
)
def test_what_is_known_of_a_stream_never_stands_for_what_comes(
    known: bytes, chunks: list[bytes], check_ids: bool
) -> None:
    counter = Counter(check_ids=check_ids)
    for chunk in (known, known, *chunks):
        counter.feed(chunk)
    wanted = interpret(known * 2 + b"".join(chunks))
    assert (counter.events, counter.last_event_id) == (len(wanted.events), wanted.last_event_id)
    assert counter.comments == len(wanted.comments)
    numbered = interpret(b"id: -\n\n" + (known * 2 + b"".join(chunks)).replace(b"\n\n", b"\n\nid: -\n\n"))
    assert counter.ids == sum(event.id != "-" for event in numbered.events)


def test_small_limits_hold_in_streams_of_plain_events() -> None:
    counter = Counter(max_line=20, max_event=20)
    assert counter.feed(b"data: a\n\ndata: b") == 1
    with pytest.raises(LineTooLong):
        counter.feed(b"x" * 100 + b"\n\ndata: c")
