"""Notes have a kind; those of earlier versions, which were plain texts, are given theirs when they are read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.earlier_records import BEGINNINGS, note_of
from harness.core.note import Note, NoteKind, of_kind, without
from harness.core.record import Container, Place, Places, RunRecord, Trial
from harness.core.record_codec import from_dict, to_dict
from harness.core.verdict import Bound, Outcome, Verdict
from tests.core.series import trial


@pytest.mark.parametrize(
    ("text", "kind", "data"),
    [
        ("ready after 0.31 s", NoteKind.READY, {}),
        ("budgets: /srv/budgets.toml", NoteKind.BUDGETS, {}),
        (
            "budgets: memory per connection is in bytes and does not cover memory/objects, which is counted in "
            'objects; add a line of its own: "memory/objects" = "AMOUNT/connection"',
            NoteKind.BUDGET_GAP,
            {},
        ),
        ("exception until 2027-01-31: fds 64 (libzmq keeps one)", NoteKind.BUDGET_EXCEPTION, {}),
        ("runtime counters: python (process 7 runs x): memory/objects", NoteKind.RUNTIME_COUNTERS, {}),
        ("runtime counters: switched off", NoteKind.RUNTIME_COUNTERS_OFF, {}),
        ("runtime counters: a gap: no answer", NoteKind.READING_INCOMPLETE, {}),
        ("no runtime counters: start it with --inspect", NoteKind.RUNTIME_COUNTERS_MISSING,
         {"reason": "start it with --inspect"}),
        ("no runtime counters: process 7 runs x, so it is measured from outside alone", NoteKind.RUNTIME_UNKNOWN,
         {"reason": "process 7 runs x, so it is measured from outside alone"}),
        ("stopped: 120 s are used up", NoteKind.STOPPED, {}),
        ("stopped loading: every stream failed for 10 s", NoteKind.LOAD_STOPPED, {}),
        ("it did not exit within 3 s of SIGTERM and was killed", NoteKind.KILLED, {}),
        ("its log exceeded 64 MiB and was cut: target.log has the last lines", NoteKind.LOG_CUT, {}),
        ("worker host_1/7 exited: the others share its part", NoteKind.WORKER_LOST, {"worker": "host_1/7"}),
        ("worker ", NoteKind.WORKER_LOST, {}),
        ("partial: there was no time to compare containers", NoteKind.PARTIAL, {}),
        ("nothing that Python itself allocates grew", NoteKind.NOTHING_FOUND, {}),
        ("something else", NoteKind.OTHER, {}),
        ("", NoteKind.OTHER, {}),
    ],
)  # fmt: skip
def test_a_note_of_an_earlier_version_has_its_kind(
    text: str, kind: NoteKind, data: dict[str, object]
) -> None:
    assert note_of(text) == Note(kind, text, data)


def test_every_beginning_of_an_earlier_note_is_reached() -> None:
    """None hides behind one that comes before it, such as "runtime counters: " before "runtime counters: a gap"."""
    for beginning, kind in BEGINNINGS:
        assert note_of(f"{beginning}x").kind is kind


def saved(notes: object) -> Trial:
    """The trial of a record whose trial, ledger and places have these notes."""
    one = replace(trial([10.0, 11.0]), places=Places())
    data = to_dict(RunRecord("id", "harness guard", "2026-11-29T00:00:00+00:00", 0, (one,)))
    written = data["trials"][0]
    for part in (written, written["places"], written["observations"][0]["ledger"]):
        part["notes"] = notes
    (read,) = from_dict(data).trials
    return read


def test_a_record_of_an_earlier_version_is_read() -> None:
    read = saved(["stopped: 2 s are used up", "worker a/1 exited: the others share its part"])
    assert read.places is not None
    for notes in (read.notes, read.places.notes, read.observations[0].ledger.notes):
        assert [note.kind for note in notes] == [NoteKind.STOPPED, NoteKind.WORKER_LOST]
        assert notes[1].data == {"worker": "a/1"}


def test_notes_are_written_and_read_again() -> None:
    notes = (Note(NoteKind.READY, "ready after 0.31 s", {"seconds": 0.31}), Note(NoteKind.OTHER, "x"))
    record = RunRecord("id", "x", "2026-11-29T00:00:00+00:00", 0, (replace(trial([10.0]), notes=notes),))
    assert from_dict(to_dict(record)) == record
    assert to_dict(record)["trials"][0]["notes"][0] == {
        "kind": "ready", "text": "ready after 0.31 s", "data": {"seconds": 0.31},
    }  # fmt: skip


def test_notes_are_selected_by_kind_in_their_order() -> None:
    notes = tuple(Note(kind, kind) for kind in (NoteKind.STOPPED, NoteKind.READY, NoteKind.BROKER))
    assert of_kind(notes, NoteKind.BROKER, NoteKind.STOPPED) == (notes[0], notes[2])
    assert without(notes, NoteKind.BROKER) == notes[:2]


@pytest.mark.parametrize(
    ("kind", "text", "container", "rate", "per"),
    [
        ("container", "`app.Sub` in `Hub._subs`, a list that gains 1.00 per answered stream",
         Container("Hub._subs", "list", "app.Sub"), 1.0, "answered stream"),
        ("container", "`Function` in an array that gains 0.98 per connection",
         Container("", "array", "Function"), 0.98, "connection"),
        ("container", "`Hub._subs`, a list that gains 2.00 per event", Container("Hub._subs", "list"), 2.0, "event"),
        ("line", "app.py:12 in serve: 1.00 blocks, 2104 B per connection", None, 1.0, "connection"),
        ("descriptor", "app.py:5: 0.05 descriptors per answered stream", None, 0.05, "answered stream"),
        ("line", "attribution failed", None, None, ""),
    ],
)  # fmt: skip
def test_a_place_of_an_earlier_version_has_the_values_of_its_text(
    kind: str, text: str, container: Container | None, rate: float | None, per: str
) -> None:
    one = replace(trial([10.0]), places=Places((Place(kind, text),)))
    data = to_dict(RunRecord("id", "harness guard", "2026-11-29T00:00:00+00:00", 0, (one,)))
    data["trials"][0]["places"]["places"] = [{"kind": kind, "text": text, "own": True, "container": "x"}]
    (read,) = from_dict(data).trials
    assert read.places == Places((Place(kind, text, container=container, rate=rate, per=per),))
    again = from_dict(to_dict(RunRecord("id", "x", "2026-11-29T00:00:00+00:00", 0, (read,))))
    assert again.trials == (read,)


def test_a_bound_of_an_earlier_version_has_what_was_retained() -> None:
    pool = Bound(
        "fds", "", "retention", 0.1, "fds/answered-stream", explanation="grew by 64 and stopped; nothing more"
    )
    hour = Bound("fds", "", "retention", 0.1, "fds/hour", explanation="growth over time")
    verdict = Verdict(Outcome.BOUNDED, "x", bounds=(pool, hour))
    one = replace(trial([10.0]), verdict=verdict)
    data = to_dict(RunRecord("id", "harness guard", "2026-11-29T00:00:00+00:00", 0, (one,)))
    for bound in data["trials"][0]["verdict"]["bounds"]:
        del bound["retained"]
    (read,) = from_dict(data).trials
    assert read.verdict
    assert [bound.retained for bound in read.verdict.bounds] == ["grew by 64 and stopped", ""]
