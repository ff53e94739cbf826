"""The smaller forms, value by value: the terminal, progress, exports of a history, rows, explanations, the schema."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from markupsafe import Markup
from rich.console import Console

from harness.core.history import Measured
from harness.core.judge.trial import judge
from harness.core.measurement import Growth, Measurement
from harness.core.metric import Key
from harness.core.record import About, ExitInfo, RunRecord, Trial
from harness.core.sample import Sample
from harness.core.trends import all_series, trend
from harness.core.verdict import Bound, Crash, Finding, Outcome, Rate, Verdict
from harness.report import (
    claims,
    entries,
    fact_lines,
    live,
    markdown,
    memory,
    nouns,
    page,
    reasoning,
    row,
    terminal,
    words,
)
from harness.report import trend as trends
from harness.report.entries import COLUMNS
from harness.report.live import LiveView
from harness.report.log import log_tail
from harness.report.schema import schema
from tests.core.series import FDS, observation, trial
from tests.history.nightly_runs import measured, month, nightly_run, nightly_runs

SCHEMA = Path(__file__).parents[2] / "docs" / "verdict.schema.json"
LEAKING = trial([310, 610, 910])
RED, BOLD_RED, YELLOW, DIM = "\x1b[31m", "\x1b[1;31m", "\x1b[33m", "\x1b[2m"


def judged(one: Trial, **more: object) -> Trial:
    one = replace(one, **more)  # type: ignore[arg-type]
    return replace(one, verdict=one.verdict or judge(one))


def screen(width: int = 100) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=True, color_system="standard", width=width), stream


@pytest.mark.parametrize("outcome", Outcome)
def test_the_headline_in_a_terminal_has_the_colour_of_its_outcome(outcome: Outcome) -> None:
    console, stream = screen()
    one = replace(LEAKING, verdict=Verdict(outcome, "because of this", advice="look there"))
    terminal.show_verdict(one, console, report="/srv/run/report.html", root="/srv")
    first, *rest = stream.getvalue().splitlines()
    colour = {"bounded": 32, "inconclusive": 33, "infrastructure": 35}.get(outcome.value, 31)
    assert first == f"\x1b[1;{colour}m{outcome.value.upper()}\x1b[0m  because of this"
    assert f"{DIM}  next      \x1b[0mlook there" in rest
    assert f"{DIM}  report    \x1b[0mrun/report.html" in rest


def test_a_wrapped_line_has_no_label_and_an_unjudged_trial_is_named() -> None:
    console, stream = screen()
    long = replace(LEAKING, verdict=Verdict(Outcome.LEAKING, "x", advice="word " * 40))
    terminal.show_verdict(long, console)
    assert stream.getvalue().splitlines()[-1].startswith(f"{' ' * fact_lines.INDENT}word")
    assert DIM not in stream.getvalue().splitlines()[-1]
    console, stream = screen()
    verdict = Verdict(Outcome.INCONCLUSIVE, "the run was interrupted; " * 6, advice="next word")
    terminal.show_verdict(replace(LEAKING, verdict=verdict), console)
    head, continued, *_, last = stream.getvalue().splitlines()
    assert DIM not in head + continued, "the second line of a headline has no label either"
    assert last.startswith(f"{DIM}  next ")
    console, stream = screen()
    terminal.show_verdict(LEAKING, console)
    assert stream.getvalue() == "not judged: the run ended before its verdict\n"


def test_a_narrow_terminal_has_a_block_of_lines_for_each_trial_and_a_wide_one_a_table() -> None:
    one = judged(LEAKING, name="one", about=About(claim="it leaks"))
    console, stream = screen(terminal.NARROW - 1)
    terminal.show_table([one], console)
    head, *rest = stream.getvalue().splitlines()
    assert (
        head == f"\x1b[1mone: \x1b[0m{RED}leaking\x1b[0m\x1b[1m after 18.0 s and 900 connections\x1b[0m"
        or (f"{RED}leaking" in head or f"{BOLD_RED}leaking" in head)
    )
    assert [line[:26] for line in rest] == [f"  {name + ':':24}" for name in row.HEADINGS[4:]], (
        "the headline has the first four"
    )
    assert rest[-2].endswith("it leaks")
    console, stream = screen(terminal.NARROW)
    terminal.show_table([one], console)
    assert "what the analysis" in stream.getvalue()
    assert f"{RED}leaking" in stream.getvalue()


def test_progress_on_a_stream_that_is_no_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with LiveView(Console(file=stream, width=200)) as view:
        sample = Sample(1.0, fds=1, threads=3, rss=5 << 20)
        view.show("guard", 12.34, "load", 3, 1, sample)
        now[0] += live.PLAIN_EVERY - 0.1
        view.show("guard", 13.0, "load", 3, 9, sample)
        now[0] += 0.1
        view.show("guard", 17.0, "load", 3, 300, replace(sample, rss=None, fds=2), "suspected")
        view.show("guard", 18.0, "load", 3, 300, replace(sample, gap="gone"), "suspected: more")
        view.show("soak", 19.0, "idle", 4, 0, None, "suspected: more")
        view.show("soak", 20.0, "idle", 4, 0, None, "waiting 1 of 60 s")
        view.show("soak", 21.0, "idle", 5, 0, None, "waiting 12 of 60 s")
    assert stream.getvalue().splitlines() == [
        "guard    12.3 s  cycle 3  load          1 stream  1 fd  3 threads  5 MiB",
        "guard    17.0 s  cycle 3  load        300 streams  2 fds  3 threads  ? MiB  suspected",
        "guard    18.0 s  cycle 3  load        300 streams  suspected: more",
        "soak     19.0 s  cycle 4  idle          0 streams  suspected: more",
        "soak     20.0 s  cycle 4  idle          0 streams  waiting 1 of 60 s",
    ]
    stream.truncate(0)
    with LiveView(Console(file=stream, width=300)) as view:
        view.show("n" * 90, 1.0, "load", 1, 1, None, "x" * 200)
    line = stream.getvalue().strip("\0\n")
    assert line.count("x") == 159, "a note has 160 characters at most, the last of which says that it was cut"
    assert line.startswith("n" * 39 + "…")
    quiet = io.StringIO()
    with LiveView(Console(file=quiet), quiet=True) as view:
        view.show("guard", 1.0, "load", 1, 1, None)
    assert quiet.getvalue() == ""


def test_an_export_has_a_row_for_each_metric_and_names_each_column() -> None:
    nan = Measured("memory", "anonymous", "undecided", math.nan, math.nan, math.inf, "B/connection")
    first = nightly_run(1, measured(0.25), nan, branch="=1+1", dirty=None)
    bare = nightly_run(2, commit="-x")
    rows = list(csv.DictReader(io.StringIO(entries.as_csv([first, bare]))))
    assert tuple(rows[0]) == COLUMNS
    assert [(one["metric"], one["kind"], one["rate"]) for one in rows] == [
        ("fds", "eventfd", "0.25"), ("memory", "anonymous", "nan"), ("", "", "")]  # fmt: skip
    assert (rows[0]["branch"], rows[0]["dirty"], rows[2]["commit"], rows[2]["dirty"]) == (
        "'=1+1",
        "",
        "'-x",
        "false",
    )
    assert (rows[0]["trial"], rows[0]["trial_outcome"], rows[0]["target"], rows[0]["exit_code"]) == (
        "soak", "leaking", "app.py /events", "1")  # fmt: skip
    found = [json.loads(line) for line in entries.as_json_lines([first, bare]).splitlines()]
    assert [one["rate"] for one in found] == [0.25, None, None]
    assert (found[1]["high"], found[0]["low"], found[0]["driver"], found[0]["dirty"]) == (
        None,
        0.248,
        None,
        None,
    )
    assert [one["metric"] for one in entries.rows([first, bare], "memory/anonymous")] == ["memory"]
    assert [one["kind"] for one in entries.rows([first, bare], "fds")] == ["eventfd"]


@pytest.mark.parametrize("begins", entries.FORMULA)
def test_no_cell_is_a_formula(begins: str) -> None:
    (only,) = csv.DictReader(io.StringIO(entries.as_csv([nightly_run(1, run_id=f"{begins}x")]), newline=""))
    assert only["run_id"] == f"'{begins}x"


def test_the_table_of_a_history_names_what_the_verdict_names_in_its_units() -> None:
    """It named the largest number: "memory/heap-bytes 2.2e+03/connection" for 6 objects, and growth of healthy runs."""
    objects = Measured("memory", "objects", "leaking", 6.0, 5.99, 6.01, "objects/connection")
    heap = Measured("memory", "heap-bytes", "leaking", 2199.0, 126.0, 5645.0, "B/connection")
    suspected = Measured("fds", "pipe", "suspected", 40.0, 39.0, 41.0, "fds/connection")
    for metrics, text in (
        ((suspected, heap, objects), "6.00 objects per connection"),
        ((heap,), "2.2 kB heap per connection"),
        ((suspected,), "40.00 descriptors (pipe) per connection"),
        ((replace(heap, status="bounded"),), ""),
    ):
        assert entries.table([nightly_run(1, *metrics)])[0][1]["growth"] == text


def test_the_table_of_a_history_shows_the_leak_before_a_steeper_growth_that_is_no_leak() -> None:
    harmless = Measured("memory", "anonymous", "bounded", 900.0, 0.0, 1e3, "B/connection")
    one = nightly_run(1, harmless, measured(0.25), measured(0.5, kind="pipe"), dirty=True)
    one = replace(one, trials=(replace(one.trials[0], profile="fixed"),))
    ((outcome, cells),) = entries.table([one])
    assert (outcome, dict(cells)) == ("leaking", {
        "run": one.run_id, "target": "app.py /events [fixed]", "outcome": "leaking", "commit": "0000001000+",
        "branch": "main", "growth": "0.50 descriptors (pipe) per connection",
    })  # fmt: skip
    ((_, cells),) = entries.table([nightly_run(1, measured(0.0))])
    assert (cells["growth"], cells["target"], cells["commit"]) == ("", "app.py /events", "0000001000")
    assert entries.table([nightly_run(1)])[0][1]["growth"] == ""


@pytest.mark.parametrize(
    ("crash", "text"),
    [
        (None, "–"),
        (Crash(-6, "SIGABRT", "abort", "it aborted", 1.0, 2), "abort, SIGABRT (-6): it aborted"),
        (Crash(1, None, None, None, 1.0, 2), "no known signature, exit code 1"),
        (Crash(None, None, None, None, 1.0, 2), "no known signature, exit unknown"),
    ],
)
def test_a_row_has_the_signature_of_a_crash(crash: Crash | None, text: str) -> None:
    one = replace(LEAKING, verdict=Verdict(Outcome.CRASHED, "", crash=crash))
    assert row.build_row(one).signature == text


def test_a_row_has_the_figures_of_its_trial() -> None:
    pipe, port, memory_ = Key("fds", "pipe"), Key("fds", "tcp-out:9797"), Key("memory", "anonymous")
    seen = [
        observation(
            n,
            {
                FDS: 10.0 + 900 * n,
                pipe: 600.0 * n,
                port: 300.0 * n,
                Key("threads"): 4.0,
                memory_: (1.0 + n) * 2**20,
            },
        )
        for n in range(2)
    ]
    one = replace(trial([], observations=seen), verdict=Verdict(Outcome.LEAKING, ""), started=1.0)
    found = row.build_row(one)
    assert (found.seconds, found.connections) == ("99.0 s", "600")
    assert (found.descriptors, found.threads) == ("+2 pipe, +1 tcp-out :9797 per connection", "4, no growth")
    assert found.memory == "2 MiB, +3.4 KiB per connection"
    ended = row.build_row(replace(one, exit=ExitInfo(1, 7.25, 77)))
    assert (ended.seconds, ended.connections) == ("7.2 s", "77")
    bound = Bound("fds", "", "bounded", 0.00123, "fds/answered-stream")
    passed = replace(one, verdict=Verdict(Outcome.BOUNDED, "", bounds=(bound,)))
    assert row.build_row(passed).descriptors == "910; bounded: at most 0.0012 per answered stream"
    assert (
        row.build_row(replace(passed, observations=())).descriptors
        == "bounded: at most 0.0012 per answered stream"
    )
    bare = replace(one, observations=(), about=About(peak_fds=30.0, peak_rss=3.0 * 2**20))
    assert (row.build_row(bare).descriptors, row.build_row(bare).threads, row.build_row(bare).memory) == (
        "peak 30", "–", "peak 3 MiB")  # fmt: skip
    assert row.build_row(replace(bare, about=About())).memory == "–"
    with pytest.raises(ValueError, match=r"^trial scripted was never judged$"):
        row.build_row(LEAKING)


@pytest.mark.parametrize(
    ("more", "crashed", "names"),
    [
        ({}, False, (*["trial"], *row.HEADINGS[1:7])),
        ({}, True, ("trial", *row.HEADINGS[1:8])),
        ({"claim": "x"}, False, (*row.HEADINGS[:7], *row.HEADINGS[8:])),
        ({"note": "x"}, True, row.HEADINGS),
        ({"confirmed": False}, True, row.HEADINGS),
    ],
)
def test_a_column_that_applies_to_no_row_is_left_out(
    more: dict[str, object], crashed: bool, names: tuple[str, ...]
) -> None:
    made = row.build_row(judged(LEAKING, about=About(**more)))  # type: ignore[arg-type]
    made = replace(made, outcome=Outcome.CRASHED) if crashed else made
    headings, texts = row.table([made])
    assert headings == names
    assert len(texts[0]) == len(names)


def test_the_log_is_its_last_lines_with_text() -> None:
    tail = ("first", " ", "second\x1b[31m", *(f"line {n}" for n in range(8)))
    one = replace(LEAKING, exit=ExitInfo(1, 1.0, 1, tail), about=About(last_lines=("other",)))
    assert log_tail(one) == [f"line {n}" for n in range(8)]
    assert log_tail(one, 9)[0].startswith("second")
    assert log_tail(one, 20)[0] == "first"
    assert log_tail(replace(one, exit=None)) == ["other"]


@pytest.mark.parametrize("crashed", [True, False])
def test_a_summary_quotes_the_cause_and_no_access_log(crashed: bool) -> None:
    """Go prints the stacks of all goroutines behind its fatal error: the last eight lines were frames of net/http."""
    frames = tuple(f"/usr/local/go/src/net/http/server.go:{n} +0x485" for n in range(20))
    log = ("fatal error: concurrent map writes", '127.0.0.1 - "GET /events HTTP/1.1" 200', *frames)
    one = replace(LEAKING, name="guard", about=About(last_lines=log[:2]))
    if crashed:
        one = replace(one, exit=ExitInfo(2, 1.0, 1, log))
    one = replace(one, verdict=judge(one))
    text = markdown.render(RunRecord("run", "harness guard", "2026-01-01T00:00:00+00:00", 0, (one,)))
    assert "log: fatal error: concurrent map writes" in text
    assert "GET /events" not in text


def test_the_schema_is_that_of_the_documentation() -> None:
    assert schema() == json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema())


def test_a_page_lets_its_own_scripts_run_and_nothing_else() -> None:
    text = page.policy("one", "two")
    # printf one | openssl dgst -sha256 -binary | base64
    assert text == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
        "'sha256-dpLDrTVAu4A8AhafJsYrEWqaueGEE0V6oQbapYiM3Tw=' 'sha256-P8TM/nRYchOLLXKa+ZfGcjtWWRQx0VVM8q0HV4gAUjM='"
    ) or re.fullmatch(r"default-src 'none'; .*script-src 'sha256-[\w+/]{43}=' 'sha256-[\w+/]{43}='", text)
    assert str(page.script_json({"a": "</script>&\u2028"})) == '{"a":"\\u003c/script\\u003e\\u0026\\u2028"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.script_json(math.nan)
    assert page.printable("a\x07b") != "a\x07b"
    assert page.printable(Markup("a\x07b")) == "a\x07b"
    assert page.printable(7) == 7
    assert len(str(page.printable("x" * 5000))) <= page.MAX_TEXT


def test_the_page_of_memory_has_totals_boxes_and_rows() -> None:
    stacks = {(("/srv/app/a.py", 1), ("/srv/b.py", 2)): (4.0, 1000.0), (("/srv/c.py", 3),): (1.0, 500.0)}
    rows = [("a.py:1 in f", 4.0, 1000.0)]
    whole = memory.render(stacks, rows, connections=None, is_library=lambda name: "/b.py" in name)
    assert "1,500 bytes in 5 blocks stayed: 1,500.0 bytes in all." in whole
    each = memory.render(
        stacks, rows, connections=10.0, is_library=lambda name: "/b.py" in name, more=3, notes=("partly",)
    )
    assert "1,500 bytes in 5 blocks stayed over 10 connections: 150.0 bytes per connection." in each
    assert "/srv/c.py:3: 50.0 bytes, 0.10 blocks per connection" in each
    assert "partly" in each
    assert ">a.py:1<" in re.sub(r"\s*([<>])\s*", r"\1", each)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (lambda: words.span(0.04), "0.0 s"), (lambda: words.number(0.0101, 1), "0.01"),
        (lambda: words.number(12.34, 1), "12"),
        (lambda: words.number(0.000123, 1), "1e-4"), (lambda: words.number(0.000123, 4), "1.23e-4"),
        (lambda: words.number(1e-3), "0.001"), (lambda: nouns.decimal(0.0099), "0.0099"),
        (lambda: nouns.decimal(0.01), "0.01"),
        (lambda: nouns.decimal(99.999), "100.00"), (lambda: nouns.decimal(100.0), "100"),
        (lambda: nouns.decimal(1e-7), "1.0e-7"),
        (lambda: nouns.decimal(2e-7), "0.0000002"), (lambda: nouns.decimal(0.00038), "0.00038"),
        (lambda: nouns.decimal(-0.5), "-0.50"),
        (lambda: nouns.quantity("memory", "blocks", 60.0, brief=True), "60 blocks"),
        (lambda: nouns.quantity("memory", "blocks", 1.5, brief=True), "1.50 blocks"),
        (lambda: nouns.quantity("memory", "blocks", 2.0, brief=True), "2 blocks"),
        (lambda: nouns.quantity("memory", "blocks", 1.0), "1.00 block"),
        (lambda: nouns.quantity("fds", "", 1e-4), "0.0001 descriptors"),
        (lambda: nouns.quantity("memory", "heap-bytes", 509.0), "509 B heap"),
        (lambda: nouns.noun("tasks", "some-thing"), "some thing"),
        (lambda: nouns.noun("tasks", ""), "task"),
        (lambda: nouns.noun("fds", "tcp-out:9797"), "descriptor (tcp-out :9797)"),
        (lambda: nouns.noun("widgets", ""), "widget"), (lambda: nouns.plural("zombie process"), "zombie processes"),
        (lambda: nouns.plural("process"), "processes"),
        (lambda: nouns.plural("descriptor (tcp-out :1)"), "descriptors (tcp-out :1)"),
        (lambda: nouns.driver("fds/answered-stream"), "answered stream"),
        (lambda: nouns.driver("fds/some-thing"), "some thing"),
        (lambda: nouns.driver(""), "connection"),
        (lambda: nouns.interval(Rate(2e3, 1500.0, 2500.0, "B/connection"), size=True), "(95 %: 1.5–2.5 kB)"),
        (lambda: nouns.interval(Rate(2e3, 900.0, 2500.0, "B/connection"), size=True), "(95 %: 900 B–2.5 kB)"),
        (lambda: nouns.interval(Rate(2e3, 0.0, 0.0, "B/connection"), size=True), ""),
        (lambda: nouns.growth(Finding("fds", "pipe", "over-ceiling", None, None, "")), "descriptor (pipe)"),
    ],
)  # fmt: skip
def test_quantities_are_written_in_words(found: Callable[[], str], text: str) -> None:
    assert found() == text


def test_levels_of_many_readings_are_the_first_six_and_the_last_six() -> None:
    one = trial(list(range(20)), warmup=())
    shown = next(line for line in reasoning.reasoning(judged(one)) if "levels" in line)
    assert shown == "  levels    0 → 1 → 2 → 3 → 4 → 5 → … → 14 → 15 → 16 → 17 → 18 → 19, 20 readings"
    twelve = trial(list(range(12)), warmup=())
    assert "…" not in next(line for line in reasoning.reasoning(judged(twelve)) if "levels" in line)


def test_an_explanation_of_one_metric_or_of_one_kind_alone() -> None:
    pipe = Key("fds", "pipe")
    seen = [observation(n, {FDS: 10.0 + 300 * n, pipe: 300.0 * n, Key("threads"): 4.0}) for n in range(6)]
    one = judged(trial([], observations=seen))

    def keys(only: str) -> set[str]:
        return {line.partition(":")[0] for line in reasoning.reasoning(one, only) if not line.startswith(" ")}

    assert keys("") == {"fds", "fds/pipe", "threads"}
    assert keys("fds") == {"fds", "fds/pipe"}
    assert keys("fds/pipe") == {"fds/pipe"}
    assert keys("pipe") == set()


@pytest.mark.parametrize(("length", "hint"), [(7, True), (8, False)])
def test_a_history_that_is_too_short_for_a_change_reports_it(length: int, hint: bool) -> None:
    series = all_series(nightly_runs([0.0] * length))
    text = trends.lines([], series)
    assert text[0] == f"2 series, up to {length} runs"
    assert ("a change needs at least 8 runs of one series" in text) is hint
    assert text[-1] == "no change"
    assert trends.lines([], []) == ["no runs to compare"]


def test_a_change_without_a_commit_names_its_runs_and_one_within_a_commit_names_that() -> None:
    (found,) = trend(all_series([replace(one, commit="") for one in month()]))
    assert (
        "between run 2026-01-18T02-00-00-17 and run 2026-01-19T02-00-00-18, 12 runs ago"
        in trends.sentence(found)
    )
    (found,) = trend(all_series([replace(one, commit="abcdef", dirty=True) for one in month()]))
    assert "at commit abcdef+, 12 runs ago" in trends.sentence(found)
    (found,) = trend(
        all_series([replace(one, commit=one.commit if n < 18 else "") for n, one in enumerate(month())])
    )
    assert "between commit 0000011000 and run 2026-01-19T02-00-00-18" in trends.sentence(found)


def test_a_comment_lists_thirty_changes_and_counts_the_rest() -> None:
    (found,) = trend(all_series(month()))
    text = trends.markdown([found] * 32, [found.series])
    assert text.startswith("### Leak trend: 32 open regressions\n")
    assert text.count("🔴") == 30 + 1
    assert "\nand 2 more\n" in text
    assert "more\n" not in trends.markdown([found] * 30, [found.series])
    better = replace(
        found, open=False, change=replace(found.change, after=(0.0, 0.0, 0.0), before=(1.0, 1.0, 1.0))
    )
    assert "| 🟢 |" in trends.markdown([better], [found.series])
    assert "| ⚪ |" in trends.markdown([replace(found, open=False)], [found.series])
    assert trends.lines([better], [found.series])[1].startswith("better: ")
    assert trends.lines([replace(found, open=False)], [found.series])[1].startswith("was reverted: ")


@pytest.mark.parametrize(("value", "text"), [(0.5, "50.0 %"), (0.9989, "99.9 %"), (0.999, "above 99.9 %")])
def test_a_confidence_is_never_shown_as_certainty(value: float, text: str) -> None:
    (found,) = trend(all_series(month()))
    change = replace(found.change, evidence=1 / (1 - value))
    assert trends.certainty(replace(found, change=change)).startswith(f"confidence {text}")
    early = replace(change, earliest=17, latest=19)
    assert trends.certainty(replace(found, change=early)).endswith(
        "; first run between 2026-01-18 and 2026-01-20 (95 %)"
    )


@pytest.mark.parametrize(
    ("values", "digits", "unit", "text"),
    [((4.0,), 1, "", "4.0"), ((4.0, 4.04), 1, " s", "4.0 s"), ((3.0, 5.0, 9.0), 0, "", "5 (3 to 9)")],
)
def test_a_spread_is_its_median_and_range(
    values: tuple[float, ...], digits: int, unit: str, text: str
) -> None:
    assert claims._spread(values, digits, unit) == text


def test_growth_of_claims_is_reported_by_unit_and_the_greatest_first() -> None:
    def repeat(*grown: Growth) -> Measurement:
        return Measurement("crashed", True, "", 4.0, 20, 40, 0, grown)

    all_four = (
        Growth("pipe", 1.0, "event"), Growth("eventfd", 1.0, "check"), Growth("anonymous", 2048.0, "check"),
        Growth("file", 3.0, "check"), Growth("udp", 0.5, "check"),
    )  # fmt: skip
    assert claims.growth((repeat(*all_four),) * 2) == (
        "+2.05 kB anonymous (2.05 kB to 2.05 kB) per check, +3 file (3 to 3) per check, +1 eventfd (1 to 1) per check, "
        "+0.5 udp (0.5 to 0.5) per check"
    )
    once = (repeat(all_four[1]), repeat(), repeat())
    assert claims.growth(once) == ""
    assert claims.growth(once[:2]) == "+1 eventfd (1 to 1) per check"
    assert claims.growth(()) == ""


def test_signatures_are_reported_the_most_frequent_first() -> None:
    made = [
        replace(Measurement("crashed", True, "", 4.0, 20, 40, 0), signature=name)
        for name in ("b", "a", "b", "")
    ]
    assert claims.signatures(made) == "b × 2, a × 1"
    assert claims.signatures(made[:1]) == "b"
    assert claims.signatures([]) == ""


@pytest.mark.parametrize(
    ("outcomes", "connections", "time"),
    [
        ((), "–", "–"), (("crashed",), "10", "2.0 s"), (("crashed", "crashed"), "15 (10 to 20)", "3.0 s (2.0 to 4.0)"),
        (("bounded", "bounded"), "15 (10 to 20)", "no crash in 3 s (2 to 4)"), (("bounded", "crashed"), "20", "4.0 s"),
    ],
)  # fmt: skip
def test_repeats_have_their_median_and_range(outcomes: tuple[str, ...], connections: str, time: str) -> None:
    made = [Measurement(one, True, "", 2.0 * n, 10 * n, 0, 0) for n, one in enumerate(outcomes, 1)]
    assert claims.connections(made) == connections
    assert claims.time_to_failure(made) == time


def test_a_row_names_the_four_kinds_that_grew_most() -> None:
    seen = [
        observation(n, {Key("fds", kind): 300.0 * n * by for by, kind in enumerate("abcdef", 1)})
        for n in range(2)
    ]
    made = row.build_row(replace(trial([], observations=seen), verdict=Verdict(Outcome.LEAKING, "")))
    assert made.descriptors == "+6 f, +5 e, +4 d, +3 c per connection"
