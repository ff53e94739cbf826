"""Runs of a history as a table, CSV and JSON Lines."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.core.history import RunEntry, TrialEntry
from harness.core.metric import Key, rank
from harness.report.nouns import quantity

# First characters of a text that a spreadsheet would evaluate as a formula (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r")
RUN = (
    "run_id", "started_at", "command", "outcome", "exit_code", "commit", "branch", "dirty", "machine_class",
    "kernel", "ci_job", "harness_version", "path",
)  # fmt: skip
TRIAL = (
    "target", "profile", "mode", "load", "sensitivity", "runtime", "runtime_version", "trial", "trial_outcome",
    "connections", "seconds",
)  # fmt: skip
RENAMED = {"trial": "name", "trial_outcome": "outcome"}  # columns whose name is not that of the field
METRIC = ("metric", "kind", "status", "rate", "low", "high", "unit", "at_most", "driver")
COLUMNS = (*RUN, *TRIAL, *METRIC)


def rows(entries: Iterable[RunEntry], metric: str | None = None) -> Iterator[dict[str, Any]]:
    """One row for each metric of each trial; a trial without metrics has one row with empty columns. metric: only
    this one, such as ``fds`` or ``fds/eventfd``."""
    for entry in entries:
        run = {name: getattr(entry, name) for name in RUN}
        for trial in entry.trials:
            own = {
                **run,
                **{name: getattr(trial, RENAMED.get(name, name)) for name in TRIAL},
            }
            wanted = [one for one in trial.metrics if metric in (None, one.metric, one.key)]
            for one in wanted:
                yield {**own, **dataclasses.asdict(one)}
            if not wanted and metric is None:
                yield {**own, **dict.fromkeys(METRIC)}


def as_csv(entries: Iterable[RunEntry], metric: str | None = None) -> str:
    """RFC 4180 with a header. A text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows(entries, metric):
        writer.writerow({name: _cell(row[name]) for name in COLUMNS})
    return text.getvalue()


def as_json_lines(entries: Iterable[RunEntry], metric: str | None = None) -> str:
    """One JSON object a line; NaN and infinity become null."""
    return "".join(
        json.dumps({name: _plain(row[name]) for name in COLUMNS}, ensure_ascii=True) + "\n"
        for row in rows(entries, metric)
    )


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _growth(trial: TrialEntry) -> str:
    """``6.00 objects per connection``: what the verdict names first. Empty where nothing leaks or is suspected."""
    grown = [one for one in trial.metrics if one.status in ("leaking", "suspected") and one.rate > 0]
    if not grown:
        return ""
    first = min(
        grown,
        # "leaking" sorts before "suspected", and a class before the total that contains it.
        key=lambda one: (one.status, rank(Key(one.metric, one.kind)), -one.rate, not one.kind),
    )
    return f"{quantity(first.metric, first.kind, first.rate)} per connection"


def table(entries: Iterable[RunEntry]) -> list[tuple[str, Mapping[str, str]]]:
    """For a terminal: outcome and cells of each trial, oldest first."""
    found: list[tuple[str, Mapping[str, str]]] = []
    for entry in entries:
        commit = entry.commit[:10] + ("+" if entry.dirty else "")
        for trial in entry.trials:
            cells = {
                "run": entry.run_id,
                "target": trial.target + (f" [{trial.profile}]" if trial.profile else ""),
                "outcome": trial.outcome,
                "commit": commit,
                "branch": entry.branch,
                "growth": _growth(trial),
            }
            found.append((trial.outcome, cells))
    return found
