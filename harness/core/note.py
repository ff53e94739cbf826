"""Remarks on a measurement: a kind for programs, a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NoteKind(StrEnum):
    """What a note is about. Programs select notes by this alone, never by their wording."""

    # of a trial
    READY = "ready"  # data: seconds
    BUDGETS = "budgets"  # where they came from; data: file
    BUDGET_EXCEPTION = "budget-exception"  # data: metric, allow, expires, reason
    BUDGET_GAP = "budget-gap"  # a leaking kind that a budget of its metric does not cover
    RUNTIME_COUNTERS = "runtime-counters"  # which are read; data: runtime
    RUNTIME_COUNTERS_OFF = "runtime-counters-off"
    RUNTIME_COUNTERS_MISSING = "runtime-counters-missing"  # data: reason, and what would help
    RUNTIME_UNKNOWN = "runtime-unknown"  # no counters exist for such a service; data: reason
    READING_INCOMPLETE = "reading-incomplete"
    PREFLIGHT = "preflight"
    CANCELLED = "cancelled"  # what was in progress when the run was stopped
    STOPPED = "stopped"  # why no further cycle was run
    LOAD_STOPPED = "load-stopped"  # why no further load was applied
    FOLDER_LIMIT = "folder-limit"  # what was left out of the run's folder
    RESUMED = "resumed"  # data: cycles, gap_seconds
    BROKER = "broker"  # what the fake broker counted of rejected messages and faults
    LOG_CUT = "log-cut"
    KILLED = "killed"  # the service did not exit after SIGTERM
    SELF_TEST = "self-test"
    STEP_FAILED = "step-failed"  # a step after the verdict
    # of the ledger of a cycle
    WORKER_LOST = "worker-lost"  # data: worker
    GENERATOR_LIMIT = "generator-limit"  # the load generator was the bottleneck
    LOAD_GIVEN_UP = "load-given-up"  # every stream failed for a time
    LOAD_CUT_SHORT = "load-cut-short"
    RATE_LIMITED = "rate-limited"
    STREAMS_ENDED = "streams-ended"  # by the service
    REQUESTS = "requests"  # of the users of a locustfile
    # of the search for the place in the source
    PARTIAL = "partial"  # the search was stopped before it was complete
    NOTHING_FOUND = "nothing-found"
    SEARCH_LIMIT = "search-limit"  # what the search cannot see, and what would help
    # of a record of an earlier version, where the text does not show the kind
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Note:
    """A remark. kind: what it is about. text: one line for people. data: values that the text contains, by name."""

    kind: NoteKind
    text: str
    data: Mapping[str, object] = field(default_factory=dict, hash=False)


def of_kind(notes: tuple[Note, ...], *kinds: NoteKind) -> tuple[Note, ...]:
    """The notes of these kinds, in their order."""
    return tuple(note for note in notes if note.kind in kinds)


def without(notes: tuple[Note, ...], *kinds: NoteKind) -> tuple[Note, ...]:
    """The notes of all other kinds, in their order."""
    return tuple(note for note in notes if note.kind not in kinds)
