"""What the counter says beyond the decoder: ids in order or not, the same under every chunking."""

from __future__ import annotations

from harness.core.sse import Counter
from tests.core.sse_chunks import chunkings


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
