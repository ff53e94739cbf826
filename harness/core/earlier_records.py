"""Records of earlier versions, in the form of today.

They had notes without kinds. This is the only place that derives a kind from the wording of a note: the wording of
those versions, which no longer changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.core.note import Note, NoteKind

MISSING = "no runtime counters: "
OUTSIDE = "measured from outside alone"
# How notes of each kind began. The first match decides.
BEGINNINGS = (
    ("ready after ", NoteKind.READY),
    ("budgets: ", NoteKind.BUDGETS),
    ("exception until ", NoteKind.BUDGET_EXCEPTION),
    ("runtime counters: switched off", NoteKind.RUNTIME_COUNTERS_OFF),
    ("runtime counters: a gap: ", NoteKind.READING_INCOMPLETE),
    ("runtime counters: ", NoteKind.RUNTIME_COUNTERS),
    (MISSING, NoteKind.RUNTIME_COUNTERS_MISSING),
    ("preflight: ", NoteKind.PREFLIGHT),
    ("stopped: ", NoteKind.STOPPED),
    ("stopped loading: ", NoteKind.LOAD_STOPPED),
    ("samples are thinned ", NoteKind.FOLDER_LIMIT),
    ("the folder reached its limit ", NoteKind.FOLDER_LIMIT),
    ("resumed after ", NoteKind.RESUMED),
    ("broker: ", NoteKind.BROKER),
    ("its log exceeded ", NoteKind.LOG_CUT),
    ("it did not exit within ", NoteKind.KILLED),
    ("self-test: ", NoteKind.SELF_TEST),
    ("worker ", NoteKind.WORKER_LOST),
    ("the generator was the bottleneck: ", NoteKind.GENERATOR_LIMIT),
    ("stopped early: ", NoteKind.LOAD_CUT_SHORT),
    ("cancelled", NoteKind.LOAD_CUT_SHORT),
    ("rate limited: ", NoteKind.RATE_LIMITED),
    ("partial: ", NoteKind.PARTIAL),
    ("nothing that ", NoteKind.NOTHING_FOUND),
)


def note_of(text: str) -> Note:
    """The note of an earlier version."""
    kind = next((kind for beginning, kind in BEGINNINGS if text.startswith(beginning)), NoteKind.OTHER)
    if kind is NoteKind.BUDGETS and " does not cover " in text:
        return Note(NoteKind.BUDGET_GAP, text)
    if kind is NoteKind.RUNTIME_COUNTERS_MISSING:
        known = NoteKind.RUNTIME_UNKNOWN if text.endswith(OUTSIDE) else kind
        return Note(known, text, {"reason": text.removeprefix(MISSING)})
    if kind is NoteKind.WORKER_LOST:
        return Note(kind, text, {"worker": text.split()[1]}) if len(text.split()) > 1 else Note(kind, text)
    return Note(kind, text)


def renamed(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record with the names of today: earlier versions called ``about`` of a trial ``extra``."""
    trials = data.get("trials")
    if not isinstance(trials, list) or not any(isinstance(one, Mapping) and "extra" in one for one in trials):
        return data
    return {
        **data,
        "trials": [
            {**one, "about": one["extra"]} if isinstance(one, Mapping) and "extra" in one else one
            for one in trials
        ],
    }
