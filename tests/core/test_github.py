"""Annotations on GitHub: at the line of the leak, whatever the service's name for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.judge.trial import judge
from harness.core.record import RunRecord
from harness.report.github import workflow_commands
from tests.core.series import trial


@pytest.mark.parametrize(
    ("where", "properties"),
    [
        ("app/streams.py:42 in open", ",file=app/streams.py,line=42::"),
        ("main.serve at /src/cmd/main.go:7", ",file=/src/cmd/main.go,line=7::"),
        ("type Session", "leaking::"),
        ("x,y%:evil.py:3\n::error::no", ",file=evil.py,line=3::"),
    ],
)
def test_an_annotation_is_at_the_line_where_it_leaks(where: str, properties: str) -> None:
    leaking = trial([310, 610, 910])
    verdict = judge(leaking)
    first, *rest = verdict.findings
    found = replace(verdict, findings=(replace(first, where=(where,)), *rest))
    record = RunRecord("id", "x", "2026-01-01T00:00:00+00:00", 0, (replace(leaking, verdict=found),))
    (line,) = workflow_commands(record)
    assert line.startswith("::error title=harness%3A scripted%3A leaking")
    assert properties in line
    assert "\n" not in line
    assert "::LEAKING  1.00 descriptor per connection" in line
    assert "%0A  next      " in line, "the annotation has the facts of the terminal, one a line"


def test_a_place_in_the_checkout_precedes_a_library_and_has_a_relative_path() -> None:
    leaking = trial([310, 610, 910])
    verdict = judge(leaking)
    first, *rest = verdict.findings
    where = ("/usr/lib/python3/asyncio/tasks.py:3 in run", "/home/runner/work/app/app/streams.py:42 in serve")
    found = replace(verdict, findings=(replace(first, where=where), *rest))
    record = RunRecord("id", "x", "2026-01-01T00:00:00+00:00", 0, (replace(leaking, verdict=found),))
    (line,) = workflow_commands(record, "/home/runner/work/app")
    assert ",file=app/streams.py,line=42::" in line
    (line,) = workflow_commands(record, "/somewhere/else/")
    assert ",file=/usr/lib/python3/asyncio/tasks.py,line=3::" in line
