"""Ids in order or not: the same counts under every chunking."""

from __future__ import annotations

from itertools import pairwise

import pytest

from harness.core.sse.decoder import Decoder
from tests.core.sse_chunks import chunkings
from tests.core.sse_plain import interpret


def counts(decoder: Decoder) -> tuple[int, int, int]:
    """(missed, repeated, disordered)."""
    return decoder.ids.missed, decoder.ids.repeated, decoder.ids.disordered


def checked(*ids: str, form: str = "id: {}\ndata: x\n\n") -> set[tuple[int, int, int]]:
    """(missed, repeated, disordered) under every chunking."""
    stream = "".join(form.format(each) for each in ids).encode()
    found = set()
    for chunks in chunkings(stream):
        decoder = Decoder(check_ids=True)
        assert sum(len(decoder.feed(chunk)) for chunk in chunks) == len(ids)
        found.add(counts(decoder))
    return found


def test_ids_in_order() -> None:
    assert checked(*map(str, range(7, 30))) == {(0, 0, 0)}
    assert checked(*map(str, range(3))) == {(0, 0, 0)}
    assert checked("1", "2", "3", form="event: a\nid: {}\ndata: x\n\n") == {(0, 0, 0)}
    assert checked("1", "2", "3", form=": c\nid:{}\ndata: x\ndata: y\n\n") == {(0, 0, 0)}


def test_missed_repeated_and_disordered() -> None:
    assert checked("1", "2", "5", "6") == {(2, 0, 0)}
    assert checked("1", "2", "2", "3") == {(0, 1, 0)}
    assert checked("1", "3", "2", "4") == {(1, 0, 1)}  # 2 was missed, then came late; 4 follows 3
    assert checked("1", "2", "3", "1", "2", "3", "4") == {(0, 0, 1)}
    assert checked("5", "3", "3", "4", "7") == {(1, 1, 1)}


def test_other_ids_are_not_compared() -> None:
    assert checked("1", "a", "", "2") == {(0, 0, 0)}
    assert checked("1", "0" * 18 + "2", "2") == {(0, 0, 0)}  # 19 digits are not a number here
    assert checked("1", "0" * 17 + "3", "4") == {(1, 0, 0)}  # 18 are one
    assert checked("-1", "+2", "1_0", "3") == {(0, 0, 0)}
    assert checked("1", "²", "٣", "2") == {(0, 0, 0)}
    assert checked("9", "10", "11", "x", "12") == {(0, 0, 0)}


@pytest.mark.parametrize("tail", ["", ": c\n\n", "event: e\nid: 3\ndata: z\n\n"])
def test_an_event_without_an_id_of_its_own_is_not_compared(tail: str) -> None:
    stream = b"id: 1\ndata: x\n\ndata: y\n\nid: 2\ndata: z\n\n" + tail.encode()
    for chunks in chunkings(stream):
        decoder = Decoder(check_ids=True)
        for chunk in chunks:
            decoder.feed(chunk)
        assert counts(decoder) == (0, 0, 0)


def test_ids_are_compared_only_on_request() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: x\n\n")
    decoder.feed(b"id: 9\ndata: x\n\n")
    assert counts(decoder) == (0, 0, 0)


def test_the_checks_continue_after_a_reconnect() -> None:
    decoder = Decoder(check_ids=True)
    decoder.feed(b"id: 1\ndata: x\n\nid: 2\nda")
    decoder.reset_for_reconnect()
    decoder.feed(b"id: 4\ndata: x\n\n")
    assert (decoder.ids.missed, decoder.last_event_id) == (2, "4")


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
        (b"id: 1\ndata: a\n\n", [b"id: 2\ndata: \xe2\x82", b"\xac\n\n"]),
        (b"id: 1\ndata: a\n\n", [b"id: 2\ndata: b\n\nid: 3\0\ndata: c\n\nxid: 4\ndata: d\n\n"]),
        (b"id: 1\nevent: x\ndata: a\n\n", [b"id: 2\nevent: x\nevent: y\n\nid: 3\ndata: c\ndata: d\n\n"]),
    ],
)
def test_a_learned_shape_never_replaces_what_arrives(known: bytes, chunks: list[bytes]) -> None:
    decoder = Decoder(check_ids=True)
    found = [event for chunk in (known, known, *chunks) for event in decoder.feed(chunk)]
    wanted = interpret(known * 2 + b"".join(chunks))
    assert (found, decoder.last_event_id) == (wanted.events, wanted.last_event_id)
    assert decoder.comments == len(wanted.comments)


@pytest.mark.parametrize(
    "form", ["id: {}\nevent: s\ndata: x\n\n", "event: s\nid:{}\ndata: x\n\n", "data: x\nid: {}\n\n"]
)
def test_ids_in_chunks_of_several_events(form: str) -> None:
    """One to six events a chunk: in order, and with each fault at each place."""
    for fault in ([], [20], [5], [9, 8], ["x"], ["", 7], ["1" * 19]):
        for place in range(8, 14):
            ids = [*range(1, place), *fault, *range(place, 30)]
            texts = [form.format(i).encode() for i in ids]
            slow = Decoder(check_ids=True)
            for byte in b"".join(texts):
                slow.feed(bytes([byte]))
            assert counts(slow) == _order(ids)
            assert slow.last_event_id == str(ids[-1])
            for each in range(1, 7):
                decoder = Decoder(check_ids=True)
                for at in range(0, len(texts), each):
                    decoder.feed(b"".join(texts[at : at + each]))
                assert counts(decoder) == counts(slow)
                assert decoder.last_event_id == slow.last_event_id


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
