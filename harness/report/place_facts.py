"""The place of a growth as facts: the line in the source, the container that holds it, or why no place is known."""

from __future__ import annotations

import re

from harness.core.judge.advice import accounts_for
from harness.core.judge.explaining_places import places_of
from harness.core.metric import Key
from harness.core.note import NoteKind, of_kind, without
from harness.core.quote import plain
from harness.core.record import Trial
from harness.core.units import counted
from harness.core.verdict import Finding
from harness.report.fact_lines import MAX_FACT, Fact

SAME_RATE = 0.05  # share of a rate by which that of its place may differ
_PLACE = re.compile(
    r"(?P<at>\S{1,400}:\d{1,9})"
    r"(?: in (?P<function>\(anonymous\)|[^:() ](?:[^:() ]|\(\*\w{1,100}\)|<\w{1,40}>){0,200}))?"
    r"(?: \((?P<state>[^()]{1,300})\))?"
    r"(?P<rest>: .{0,300})?"
)
# A wait inside a package is named by its function: "asyncio/tasks.py:649 in sleep" is asyncio.sleep. Not every module's
# names are those of its package: "asyncio/locks.py:213 in wait" is not an asyncio.wait.
_LIBRARY = re.compile(r"(?<!\S)(\w{1,100})/(\w{1,100})\.py:\d{1,9} in (\w{1,100})")
# A module of the standard library that is in no package: "python3.11/threading.py:331 in wait" is threading.wait.
_MODULE = re.compile(r"(?<!\S)python\d\.\d{1,3}t?/(\w{1,100})\.py:\d{1,9} in (\w{1,100})")
# Left out of the name of a type: the script's own module, which is always __main__, and the underscore of a module in
# C, because _asyncio.Task is asyncio.Task to its user.
_HIDDEN_PREFIX = re.compile(r"^(?:__main__\.|_(?=[a-z]))")


def place(text: str, root: str = "") -> str:
    """``orders/hub.py:21  heartbeat, waiting in asyncio.sleep``: location first, path relative to ``root``, without the
    amounts, which the headline has. Text that names no location stays as it is."""
    match = _PLACE.fullmatch(text)
    if not match:
        return plain(text, MAX_FACT)
    state = _LIBRARY.sub(
        lambda one: (
            f"{one[1]}.{one[3]}" if one[1] == "asyncio" and one[2] == "tasks" else ".".join(one.groups())
        ),
        _MODULE.sub(r"\1.\2", match["state"] or ""),
    )
    function = "an anonymous function" if match["function"] == "(anonymous)" else match["function"]
    inside = ", ".join(part for part in (function, state) if part)
    return plain(f"{relative(match['at'], root)}{f'  {inside}' if inside else ''}", MAX_FACT)


def relative(path: str, root: str) -> str:
    """A path below ``root`` without it."""
    start = f"{root.rstrip('/')}/"
    return path.removeprefix(start) if root else path


def where_fact(trial: Trial, first: Finding | None, root: str, rest: str = "in the report") -> Fact | None:
    """The first line where it grows. Nothing while only containers are known. rest: where the other places are."""
    if trial.places is None or first is None or not first.where:
        return None
    rate = first.rate.value if first.rate else 0.0
    found = places_of(trial.places, Key(first.metric, first.kind), rate)
    lines = [one for one in found if one.container is None]
    if not lines:
        return None
    # The report has all places, the first is where to begin. Threads may wait at two lines of a library.
    distinct = {match["at"] if (match := _PLACE.fullmatch(one.text)) else one.text for one in lines}
    others = counted(len(distinct) - 1, "more place")
    more = f" ({others} {rest})" if len(distinct) > 1 else ""
    foreign = "" if lines[0].own else "; a library's line: no stack has a frame of the service"
    # A place that gains as much as was found needs no further comparison, whatever else the search did not finish.
    confirmed = lines[0].rate is not None and abs(lines[0].rate - rate) <= SAME_RATE * rate
    partial = "; not confirmed: the search was cut short" if trial.places.partial and not confirmed else ""
    return Fact("where", f"{place(lines[0].text, root)}{more}{foreign}{partial}")


def unread_fact(trial: Trial) -> Fact | None:
    """Which runtime counters would have shown more than the counts from outside, if those were not enough."""
    missing = of_kind(trial.notes, NoteKind.RUNTIME_COUNTERS_MISSING)
    return Fact("inside", f"not read: {missing[0].data.get('reason', missing[0].text)}") if missing else None


def unplaced_fact(trial: Trial, first: Finding | None) -> Fact | None:
    """Why no place is named, and what would help: the hint is in the verdict, not only in the report."""
    if first is None or first.rate is None:
        return None
    unread = of_kind(trial.notes, NoteKind.RUNTIME_COUNTERS_MISSING, NoteKind.RUNTIME_UNKNOWN)
    limits = trial.places.notes if trial.places else ()
    # That nothing was found is known by now: a note that says what would help goes before it.
    last = of_kind(limits, NoteKind.NOTHING_FOUND)
    hints = [*(note.data.get("reason", note.text) for note in unread)]
    hints += [note.text for note in (*without(limits, NoteKind.NOTHING_FOUND), *last)]
    return Fact("where", f"unknown: {hints[0]}") if hints else None


def holder_fact(trial: Trial, first: Finding | None) -> Fact | None:
    """The container that holds the growth: ``Hub.subscribers (array of Subscriber, +1.00 per connection)``."""
    found = trial.places
    if found is None or first is None:
        return None
    grown = first.rate.value if first.rate else 0.0
    # A container that gains less than the metric cannot be what holds all of the growth.
    held = next(
        (
            one
            for one in places_of(found, Key(first.metric, first.kind), grown)
            if one.container and accounts_for(found, one, first.metric, grown)
        ),
        None,
    )
    if held is None or held.container is None:
        return None
    container = held.container
    item = f" of {_HIDDEN_PREFIX.sub('', container.item)}" if container.item else ""
    gain = f", +{held.rate:.2f} per {held.per}" if held.rate is not None else ""
    if container.name:
        return Fact("held by", f"{container.name} ({container.kind}{item}{gain})")
    return Fact("held by", f"{container.described}{item}{gain}")
