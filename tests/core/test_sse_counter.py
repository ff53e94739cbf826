"""What the counter says beyond the decoder: ids in order or not, the same under every chunking."""

from __future__ import annotations

from itertools import pairwise

import pytest

from harness.core.sse.decoder import Counter, EventTooLong, LineTooLong
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


@pytest.mark.parametrize("check_ids", [False, True])
@pytest.mark.parametrize("size", [1, 7, 200, 511, 1024, 1030, 4096])
def test_long_lines_are_counted_and_not_kept(size: int, check_ids: bool) -> None:
    """Data of which only the length is known: its end, its limits and what follows are as if it had been kept."""
    long = b"x" * 3000
    parts = [
        b"data: " + long + b"\n\n", b"data:" + long + b"\n\n", b"data:" + long + b"\r\rdata: a\r\n\r\n",
        b"data: " + long + b"\ndata: " + long + b"\n: c\n\n", b"id: 7\ndata: " + long + b"\n\ndata: b\n\n",
        b"data: " + long + b"\nid: 8\n\n", b"dat: " + long + b"\n\n", b"data: " + long + b"\n\ndata: b\ndata: c\n\n",
    ]  # fmt: skip
    for first in parts:
        for second in parts:
            stream = first + second
            wanted = interpret(stream)
            counter = Counter(check_ids=check_ids)
            for at in range(0, len(stream), size):
                counter.feed(stream[at : at + size])
            assert (counter.events, counter.last_event_id) == (len(wanted.events), wanted.last_event_id)
            assert (counter.comments, counter.bytes) == (len(wanted.comments), len(stream))


@pytest.mark.parametrize("size", [1, 7, 200, 1024, 4096])
@pytest.mark.parametrize("name", [b"data:", b"data: "])
def test_a_long_line_meets_its_limits_to_the_byte(name: bytes, size: int) -> None:
    def error(length: int, line: int, event: int, before: bytes = b"") -> str:
        stream = before + name + b"x" * length + b"\n\n"
        counter = Counter(max_line=line, max_event=event)
        try:
            for at in range(0, len(stream), size):
                counter.feed(stream[at : at + size])
        except (LineTooLong, EventTooLong) as found:
            return type(found).__name__
        assert counter.events == stream.count(b"\n\n")
        return ""

    full = name + b"x" * 2500 + b"\n\n"
    for before in (b"", full, full * 2):
        assert error(3000, 3000 + len(name), 3001, before) == ""
        assert error(3000, 2999 + len(name), 9000, before) == "LineTooLong"
        assert error(3000, 9000, 3000, before) == "EventTooLong"
    assert error(3000, 9000, 3003, b"data: a\n") == ""
    assert error(3000, 9000, 3002, b"data: a\n") == "EventTooLong"


@pytest.mark.parametrize(
    "end", [b"x\n\ndata: a\rdata: b\r\r", b"x\rdata: y\n\ndata: a", b"x\r\r\n\ndata: a", b"\n\ndata: a\r\r"]
)
def test_a_long_line_ends_in_a_chunk_with_cr(end: bytes) -> None:
    chunks = [b"data: " + b"x" * 3000, end]
    counter = Counter()
    assert sum(map(counter.feed, chunks)) == len(interpret(b"".join(chunks)).events)


def test_a_long_line_is_refused_with_the_chunk_that_makes_it_too_long() -> None:
    for before in ([], [b"data: " + b"x" * 590], [b"data: x\n\n"]):
        counter = Counter(max_line=600, max_event=600)
        for chunk in before:
            counter.feed(chunk)
        counter.feed(b"x\n\n")
        with pytest.raises(LineTooLong):
            counter.feed(b"data: " + b"x" * 595)
    counter = Counter(max_line=600, max_event=600)
    counter.feed(b"data: " + b"x" * 590)
    with pytest.raises(LineTooLong):
        counter.feed(b"x\n\ndata: " + b"x" * 595)


@pytest.mark.parametrize(
    "form", ["id: {}\nevent: s\ndata: x\n\n", "event: s\nid:{}\ndata: x\n\n", "data: x\nid: {}\n\n"]
)
def test_ids_in_chunks_of_several_events(form: str) -> None:
    """One to six events a chunk: in step, and with each fault at each place."""
    for each in range(1, 7):
        for fault in ([], [20], [5], [9, 8], ["x"], ["", 7], ["1" * 19]):
            for place in range(8, 14):
                ids = [*range(1, place), *fault, *range(place, 30)]
                texts = [form.format(i).encode() for i in ids]
                counter, slow = Counter(check_ids=True), Counter(check_ids=True)
                for at in range(0, len(texts), each):
                    counter.feed(b"".join(texts[at : at + each]))
                for byte in b"".join(texts):
                    slow.feed(bytes([byte]))
                seen = [
                    (c.events, c.ids, c.missed, c.repeated, c.disordered, c.last_event_id)
                    for c in (counter, slow)
                ]
                assert seen[0] == seen[1] == (len(ids), len(ids), *_order(ids), str(ids[-1]))


def _order(ids: list[int | str]) -> tuple[int, int, int]:
    """(missed, repeated, disordered), by the definition."""
    missed = repeated = disordered = 0
    numbers = [i for i in ids if isinstance(i, int)]
    highest = numbers[0]
    for before, now in pairwise(numbers):
        repeated += now == before
        disordered += now < before
        missed += max(0, now - highest - 1)
        highest = max(highest, now)
    return missed, repeated, disordered
