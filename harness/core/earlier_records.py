"""Converts records of earlier versions to the current form.

They had notes without kinds, and places and bounds whose values were in their texts alone. This is the only module
that derives values from wording: from that of those versions, which no longer changes.
"""

from __future__ import annotations

import re
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
# "`Subscriber` in `Hub._subscribers`, a list that gains 1.00 per answered stream"
CONTAINER = re.compile(
    r"(?:`(?P<item>[^`]{1,300})` in )?(?:`(?P<name>[^`]{1,300})`, )?an? (?P<kind>\S{1,100}) that gains "
    r"(?P<rate>\d{1,20}(?:\.\d{1,20})?) per (?P<per>.{1,40})"
)
# "app.py:12 in serve: 1.00 blocks, 2104 B per connection"
LINE = re.compile(r".{1,800}: (?P<rate>\d{1,20}(?:\.\d{1,20})?) [^:]{1,60}? per (?P<per>[^:]{1,40})")


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


def place_of(place: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a place of an earlier version, with those that its text shows."""
    text = str(place.get("text", ""))
    container = CONTAINER.fullmatch(text) if place.get("kind") == "container" else None
    found = container or LINE.fullmatch(text)
    return {
        **place,
        "container": {name: container[name] or "" for name in ("name", "kind", "item")}
        if container
        else None,
        "rate": float(found["rate"]) if found else None,
        "per": found["per"] if found else "",
    }


def bound_of(bound: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a bound of an earlier version: what was retained began its explanation."""
    retention = bound.get("status") == "retention" and not str(bound.get("unit", "")).endswith("/hour")
    return {**bound, "retained": str(bound.get("explanation", "")).partition(";")[0] if retention else ""}


# The names of today for fields of ``about``.
ABOUT = {"said": "claim", "last_words": "last_lines"}


def renamed(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record with the names of today: earlier versions called ``about`` of a trial ``extra``."""
    trials = data.get("trials")
    if not isinstance(trials, list):
        return data
    return {**data, "trials": [_trial(one) if isinstance(one, Mapping) else one for one in trials]}


def _trial(trial: Mapping[str, Any]) -> Mapping[str, Any]:
    about = trial.get("extra", trial.get("about"))
    if not isinstance(about, Mapping):
        return trial
    return {**trial, "about": {ABOUT.get(name, name): value for name, value in about.items()}}
