"""The texts that people read, word for word: terminal, pytest, Markdown and JUnit, for every kind of outcome.

HARNESS_GOLDEN=write writes the files again. Read the difference before committing it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.core.record import About, ExitInfo, Place, Places, RunRecord, Trial
from harness.core.verdict import Exhaustion, Finding, Outcome, Rate, Verdict
from harness.plugin.guarding import VERDICT_FIELDS, Explained
from harness.report import junit, markdown
from harness.report.fact_lines import COLUMNS, LINES
from harness.report.facts import facts_of
from tests.core.series import container, trial

LOG = ['127.0.0.1 - "GET /events HTTP/1.1" 404', "no"]
GROWN = Rate(1.0, 0.99, 1.01, "tasks/answered-stream")
GOLDEN = Path(__file__).parent / "golden"
ROOT = "/srv/orders"
REPORT = f"{ROOT}/reports/run/report.html"
TASKS = Places(
    (
        Place(
            "task",
            f"{ROOT}/orders/hub.py:21 in Hub.heartbeat (waiting in asyncio/tasks.py:649 in sleep): 1.00 tasks",
        ),
        container("Hub._tasks", "set", "Task", per="answered stream"),
    )
)


def _judged(one: Trial, **more: object) -> Trial:
    one = replace(one, **more)  # type: ignore[arg-type]
    return replace(one, verdict=judge(one))


def _leaking() -> Trial:
    rest = (
        Finding(
            "memory", "heap-bytes", "leaking", "connection", Rate(509, 500, 520, "B/answered-stream"), "heap"
        ),
        Finding(
            "memory", "blocks", "leaking", "connection", Rate(60, 59, 61, "blocks/answered-stream"), "blocks"
        ),
    )
    first = Finding(
        "tasks", "asyncio-task", "leaking", "answered-stream", GROWN, "tasks grow",
        exhausts=Exhaustion("RLIMIT_NOFILE", 1024, 820.0, 40.0), where=(TASKS.places[0].text,), retained_seconds=65.4,
    )  # fmt: skip
    verdict = Verdict(
        Outcome.LEAKING,
        "tasks grow",
        (first, *rest),
        advice="cancel the task in a finally block: it outlives its stream",
    )
    return replace(
        trial([310, 610, 910, 1210], key=Key("tasks", "asyncio-task")), verdict=verdict, places=TASKS
    )


CASES = {
    "leaking": _leaking(),
    "bounded": _judged(trial([10.0] * 30)),
    "crashed": _judged(
        trial([310, 610, 910]), exit=ExitInfo(1, 9.0, 300, ("x", "OSError: [Errno 24] Too many open files"))
    ),
    "inconclusive": _judged(trial([10.0] * 3)),
    "interrupted": _judged(trial([10.0] * 3), interrupted=True),
    "infrastructure": _judged(trial([10.0] * 3), infrastructure="the swarm exited with status 1"),
    "unready": _judged(
        trial([10.0] * 3),
        unready="http://127.0.0.1:8000/events answers 404: no such path",
        about=About(advice="pass --url with the path of the stream", last_lines=tuple(LOG)),
    ),
}  # fmt: skip


def forms(one: Trial) -> dict[str, str]:
    facts = facts_of(one, report=REPORT, root=ROOT)
    assert one.verdict
    shown = Explained(
        **{name: getattr(one.verdict, name) for name in VERDICT_FIELDS}, text=tuple(facts.lines())
    )
    record = RunRecord("run", "harness guard", "2026-01-01T00:00:00+00:00", 0, (replace(one, name="guard"),))
    return {
        "terminal.txt": facts.text() + "\n",
        "pytest.txt": shown.explain() + "\n",
        "md": markdown.render(record),
        "xml": junit.render(record),
    }


@pytest.mark.parametrize("name", CASES)
def test_each_form_of_each_end(name: str) -> None:
    for form, text in forms(CASES[name]).items():
        path = GOLDEN / f"{name}.{form}"
        if os.environ.get("HARNESS_GOLDEN") == "write":
            path.write_text(text)
        assert text == path.read_text(), path.name


@pytest.mark.parametrize("name", CASES)
def test_at_most_12_lines_of_80_columns_and_nothing_twice(name: str) -> None:
    lines = facts_of(CASES[name], report=REPORT, root=ROOT).lines()
    assert len(lines) <= LINES == 12
    assert max(map(len, lines)) <= COLUMNS == 80
    assert len({line.strip() for line in lines}) == len(lines)
    assert lines[0].startswith(f"{CASES[name].verdict.outcome.value.upper()}  ")  # type: ignore[union-attr]
    assert not any("HTTP/1.1" in line or "Traceback" in line for line in lines), "no access log, no traceback"


def test_a_verdict_with_long_texts_still_fits() -> None:
    one = CASES["leaking"]
    assert one.verdict
    words = "memory of this service is undecided: " * 20
    long = replace(
        one, verdict=replace(one.verdict, warnings=(words, "x"), advice=words, also=(Outcome.STALLED,))
    )
    lines = facts_of(long, report=REPORT, root=ROOT).lines()
    assert len(lines) == LINES
    assert lines[-1] == "  report    reports/run/report.html", (
        "what is cut is text, never the path of the report"
    )
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/orders/a.py:3 in f: 1.00 descriptors per connection", "a.py:3  f"),
        ("/usr/lib/b.py:3", "/usr/lib/b.py:3"),
        ("/srv/orders/main.go:9 in main.(*Hub).run: 1.00 goroutines", "main.go:9  main.(*Hub).run"),
        ("Subscriber: 1.00 objects per connection", "Subscriber: 1.00 objects per connection"),
    ],
)  # fmt: skip
def test_a_place_names_its_line_first(text: str, shown: str) -> None:
    from harness.report.place_facts import place

    assert place(text, ROOT) == shown


def test_a_search_that_failed_is_no_place() -> None:
    note = "attribution failed: no answer"
    one = CASES["leaking"]
    assert one.verdict
    first = replace(one.verdict.findings[0], where=(note,))
    found = Places((), 0, (Note(NoteKind.SEARCH_LIMIT, note),))
    lines = facts_of(replace(one, places=found, verdict=replace(one.verdict, findings=(first,)))).lines()
    assert "  where     unknown: attribution failed: no answer" in lines
