"""Trials of every kind and the figures of every form of report on them.

``python -m tests.reports.pinned_reports`` writes tests/reports/pinned.json again, after a deliberate change of a form;
with the name of a scenario it prints the figures.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.core.claims import Claim
from harness.core.claims_record import ClaimsRecord
from harness.core.history import RunEntry
from harness.core.judge.trial import judge
from harness.core.measurement import Growth, measure
from harness.core.note import Note, NoteKind
from harness.core.record import Place, Places, RunRecord, Trial, as_ended
from harness.core.sample import Sample
from harness.core.trends import all_series, compare, trend
from harness.report import (
    claims,
    entries,
    evidence,
    github,
    html,
    junit,
    markdown,
    memory,
    over_time,
    row,
    site,
    terminal,
)
from harness.report import trend as trends
from harness.report.facts import facts_of
from harness.report.reasoning import reasoning
from harness.store.run_dir import RunDirectory
from tests.core.pinned_scenarios import FIGURE, Scenario, random_trial, write
from tests.core.pinned_variations import varied
from tests.core.series import container
from tests.history.nightly_runs import measured, month, nightly_run
from tests.reports.test_golden import CASES, REPORT, ROOT

PINNED = Path(__file__).with_name("pinned.json")
REPOSITORY = Path(__file__).parents[2]
SHAPE = re.compile(r"<(\w+)|class=\"([^\"]*)\"")
PLACES = Places(
    (
        Place("line", "/srv/orders/app.py:12 in serve (waiting in asyncio/tasks.py:649 in sleep): 1.00 tasks"),
        Place("task", "/usr/lib/python3.11/queue.py:3 in put: 0.5 tasks", own=False),
        container("Hub._tasks", "set", "Task"),
    ),
    more=3, notes=(Note(NoteKind.SEARCH_LIMIT, "start with y"),), partial=True,
)  # fmt: skip


def figures(text: str) -> list[str]:
    """The figures of a text, and how many lines it has: its wording may change."""
    return [f"{text.count(chr(10))} lines", *FIGURE.findall(text)]


def page(text: str) -> dict[str, Any]:
    """The figures of a page and the elements it is made of, without its styles and scripts."""
    body = re.sub(r"(?s)<(style|script)\b.*?</\1>", "", text)
    body = re.sub(r"sha256-[\w+/=]+", "", body)
    return {"figures": figures(body), "shape": [first or second for first, second in SHAPE.findall(body)]}


def screen(trial: Trial, width: int, *, table: bool = False) -> list[str]:
    """What a terminal shows, its styles included."""
    shown = io.StringIO()
    console = Console(
        file=shown, force_terminal=True, color_system="standard", width=width, legacy_windows=False
    )
    if table:
        terminal.show_table([trial, replace(trial, name="other")], console)
    else:
        terminal.show_verdict(trial, console, report=REPORT, root=ROOT)
    return figures(shown.getvalue())


def forms(trial: Trial, samples: Mapping[str, list[Sample]] | None = None) -> dict[str, Any]:
    """Every form of a judged trial."""
    record = RunRecord(
        "run", "harness guard", "2026-01-01T00:00:00+00:00", 0, (trial, replace(trial, name="b"))
    )
    facts = facts_of(trial, report=REPORT, root=ROOT)
    text = html.render(record, samples or {}, {"b": [("log", "b/target.log")]})
    return {
        "facts": [(fact.label, figures(fact.text), fact.whole) for fact in facts.facts],
        "lines": [figures(line) for line in facts.lines()] + [figures(line) for line in facts.lines(5)],
        "markdown": figures(markdown.render(record)), "junit": page(junit.render(record)),
        "github": [figures(line) for line in github.workflow_commands(record, ROOT)],
        "screen": [screen(trial, 100), screen(trial, 170, table=True), screen(trial, 100, table=True)],
        "cells": [figures(cell) for cell in row.cells(row.build_row(trial))], "page": page(text),
        "reasons": [figures(line) for line in reasoning(trial)],
        "classes": over_time.classes(trial), "cycles": [figures(str(one)) for one in over_time.cycles(trial)],
        "evidence": [(chart.lines, chart.marks, chart.band, chart.rules, evidence.legend(chart))
                     for chart in evidence.charts(trial, "t")],
    }  # fmt: skip


def judged(trial: Trial) -> Trial:
    """The trial with its verdict."""
    trial = as_ended(trial)
    return replace(trial, verdict=judge(trial))


def samples_of(trial: Trial) -> dict[str, list[Sample]]:
    """Readings once a second, with a gap."""
    end = int(trial.observations[-1].ended) + 1 if trial.observations else 3
    return {
        trial.name: [
            Sample(
                float(n), fds=20 + n % 9, threads=5, rss=(40 + n % 3) << 20, gap="gone" if n == 4 else None
            )
            for n in range(end)
        ]
    }


def trials() -> Iterator[tuple[str, Scenario]]:
    """Saved runs, the ends of the golden files and seeded trials."""
    for name, one in CASES.items():
        yield f"end {name}", lambda one=one: forms(one, samples_of(one))
    for folder in [
        *sorted((REPOSITORY / "tests" / "cases" / "runs").iterdir()),
        REPOSITORY / "reports" / "sample",
    ]:
        record, _ = RunDirectory.load(folder)
        directory = RunDirectory(folder, record.run_id)
        for trial in record.trials:
            yield (
                f"saved {folder.name}",
                lambda trial=trial, directory=directory: forms(
                    judged(trial), {trial.name: list(directory.read_samples(trial.name))}
                ),
            )
    for seed in range(24):
        places = PLACES if seed % 3 else None
        yield (
            f"varied {seed}",
            lambda seed=seed, places=places: forms(
                judged(replace(varied(seed), places=places)), samples_of(varied(seed))
            ),
        )
    for seed in range(8):
        yield f"random {seed}", lambda seed=seed: forms(judged(random_trial(seed)))


def histories() -> Iterator[tuple[str, Scenario]]:
    """Many nightly runs: the trend, a comparison, exports, the site."""
    fell = [nightly_run(n, measured(0.3 if n < 12 else 0.0)) for n in range(24)]
    twice = [nightly_run(n, measured(0.0 if n < 9 else 0.2 if n < 18 else 0.6)) for n in range(27)]
    dirty = [replace(one, dirty=True, kernel="6.2" if n > 14 else "6.1") for n, one in enumerate(month())]
    for name, nights in (
        ("month", month()),
        ("fell", fell),
        ("twice", twice),
        ("dirty", dirty),
        ("few", fell[:5]),
    ):

        def all_of(nights: list[RunEntry] = nights) -> Any:
            series = all_series(nights)
            found = trend(series)
            both = compare(nights[0], nights[-1])
            reports = {nights[3].digest: "report.html"}
            return {
                "lines": [figures(line) for line in trends.lines(found, series)],
                "markdown": figures(trends.markdown(found, series)),
                "compared": [figures(line) for line in trends.compared(both)],
                "site": {file: page(text) for file, text in site.render(
                    nights, {"app.py /events": "target.html"}, reports).items()},
                "csv": entries.as_csv(nights).split("\r\n"), "json": entries.as_json_lines(nights, "fds").split("\n"),
                "table": [(outcome, list(cells.items())) for outcome, cells in entries.table(nights)],
            }  # fmt: skip

        yield f"nights {name}", all_of


def others() -> Iterator[tuple[str, Scenario]]:
    """The table of claims, and the page of a memory comparison."""

    def claimed() -> Any:
        some = tuple(measure(judged(varied(seed))) for seed in range(6))
        grown = tuple(
            replace(
                one, growth=(Growth("eventfd", 1.0 + 0.1 * n, "check"), Growth("anonymous", 5e3 * n, "event"))
            )
            for n, one in enumerate(some)
        )
        record = ClaimsRecord(
            "run", "2026-11-29T03:00:00+00:00", {"cores": 2}, "0.1.0",
            tuple(Claim(by, "1", "it is so", by, (("a", 5), ("b", 3)), value, "no") for by, value in (
                ("crashes", ""), ("as-described", ""), ("later", ""), ("none", ""), ("outcome", "leaking"))),
            {"a": "sockets", "b": "threads"}, {"a": "crashed"}, {"a": grown, "b": some[:3]}, seconds=900.0, jobs=2,
        )  # fmt: skip
        return [figures(claims.render_markdown(record)), page(claims.render_html(record))]

    def grew() -> Any:
        stacks = {(("a.py", 1), ("b.py", n)): (float(n), 100.0 * n) for n in range(9)}
        rows = [("a.py:1 in f", 3.5, 1234.5), ("b.py:2", 0.25, 10.0)]
        return [
            page(
                memory.render(
                    stacks,
                    rows,
                    connections=many,
                    is_library=lambda name: "b.py" in name,
                    more=2,
                    notes=("x 1",),
                )
            )
            for many in (None, 300.0, 1.0)
        ]

    yield "claims", claimed
    yield "memory", grew


def scenarios() -> Iterator[tuple[str, Scenario]]:
    """Every scenario by its name."""
    yield from trials()
    yield from histories()
    yield from others()


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(dict(scenarios())[sys.argv[1]](), indent=1, default=str))
    else:
        write(PINNED, scenarios())
