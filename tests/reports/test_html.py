"""report.html: opens from the disk without a network, in light and dark, prints, and runs no foreign code."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.judge.trial import judge
from harness.core.note import Note, NoteKind
from harness.core.record import About, ExitInfo, Place, Places, RunRecord
from harness.core.record_codec import from_dict
from harness.core.sample import Sample
from harness.core.verdict import Bound
from harness.report.html import render
from harness.runtime.counters import cut_short
from harness.store.run_dir import RunDirectory
from tests.core.series import trial
from tests.reports.axe import violations
from tests.reports.devtools import Browser

SAMPLE = Path(__file__).parents[2] / "reports" / "sample"
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[31m"
)


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return from_dict(json.loads((SAMPLE / "run.json").read_text()))


@pytest.fixture(scope="module")
def samples(record: RunRecord) -> dict[str, list[Sample]]:
    directory = RunDirectory(SAMPLE, record.run_id)
    return {trial.name: list(directory.read_samples(trial.name)) for trial in record.trials}


def test_the_page_refers_to_nothing_outside_itself(
    record: RunRecord, samples: dict[str, list[Sample]]
) -> None:
    text = render(record, samples)
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!#)[^"'\s>]+""", text)
    beside = render(record, samples, {record.trials[0].name: [("log", "guard/target.log")]})
    assert '<a href="guard/target.log">log</a>' in beside
    assert not re.findall(r"url\(|@import", text)


def test_the_page_has_units_and_words(record: RunRecord) -> None:
    """A bound of memory stood there as 2,393,910,000 B/hour, and the machine as machine_class, with its cores twice."""
    bounds = (
        Bound("memory", "anonymous", "observed", 2_393_910_000.0, "B/hour"),
        Bound("fds", "", "bounded", 0.00061, "fds/answered-stream"),
        Bound("idle-cpu", "", "bounded", 1.37, "cores/hour"),
        Bound("threads", "", "observed", 102.0, "threads/connected-hour"),
    )
    first = record.trials[0]
    assert first.verdict
    line, more = (
        Place("line", "/srv/app.py:27: 59 blocks, 4048 B per connection"),
        Place("line", "/srv/app.py:14"),
    )
    notes = tuple(cut_short(why) for why in ("no time", "not all measured"))
    one = replace(
        first,
        verdict=replace(first.verdict, bounds=bounds, warnings=("one", "two")),
        places=Places((line, more), more=2, notes=notes, partial=True),
    )
    machine = {"kernel": "6.1", "cores": 2, "machine_class": "x86_64, 2 cores, 24 GiB"}
    text = render(replace(record, trials=(one,), machine=machine), {})
    for cell in (
        "2.39 GB per hour",
        "0.00061 per answered stream",
        "1.37 cores per hour",
        "102 per connected hour",
    ):
        assert f"<td>{cell}</td>" in text
    assert "kernel 6.1 · machine x86_64, 2 cores, 24 GiB" in " ".join(text.split())
    assert "cores 2" not in text
    assert "2 more places left out · the search was cut short: no time; not all measured" in text
    assert "one (and 1 more warning below)" in text
    assert "in the report" not in text, "this is the report"
    # A search that found no place is reported once, and not as a place.
    notes = (Note(NoteKind.PARTIAL, "the search for its place in the source was interrupted"),)
    leaking = trial([310, 610, 910], places=Places(notes=notes))
    text = render(replace(record, trials=(replace(leaking, verdict=judge(leaking)),)), {})
    assert text.count("the search for its place in the source was interrupted") == 1
    assert "<h3>Places</h3>" not in text


@pytest.mark.browser
def test_a_browser_draws_every_chart_without_a_network(
    record: RunRecord, samples: dict[str, list[Sample]], browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(record, samples))
    with browser.page(page) as tab:
        seen = tab.dom
    # The first picture is the evidence, once for a wide and once for a narrow page.
    first = seen.index("Eventfds after each cycle")
    assert first < seen.index("Descriptors over time")
    for title in ("Descriptors over time", "Threads over time", "Resident memory over time"):
        assert seen.count(f"<figcaption>{title}<") == len(record.trials)
    charts = re.findall(r"<svg[^>]*>", seen)
    assert len(charts) >= 4 * len(record.trials)
    assert browser.console == []


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "ground"), [("dark", (20, 23, 26)), ("light", (251, 251, 249))])
def test_light_and_dark_follow_the_reader(
    scheme: str,
    ground: tuple[int, int, int],
    record: RunRecord,
    samples: dict[str, list[Sample]],
    browser: Browser,
    tmp_path: Path,
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(record, samples))
    with browser.page(page) as tab:
        tab.prefer(scheme)
        assert tab.upper_left == ground


@pytest.mark.browser
def test_the_page_prints(
    record: RunRecord, samples: dict[str, list[Sample]], browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(record, samples))
    with browser.page(page) as tab:
        pages = re.findall(rb"/Type\s*/Page\b(?!s)", tab.printed)
    assert 1 <= len(pages) <= 2 * len(record.trials) + 2


@pytest.mark.browser
def test_texts_of_a_target_never_become_markup(
    record: RunRecord, samples: dict[str, list[Sample]], browser: Browser, tmp_path: Path
) -> None:
    trial = record.trials[0]
    assert trial.verdict
    hostile_trial = replace(
        trial,
        name=HOSTILE,
        exit=ExitInfo(1, 1.0, 1, (HOSTILE,)),
        notes=(Note(NoteKind.STOPPED, HOSTILE, {HOSTILE: HOSTILE}),),
        about=replace(trial.about, summary=HOSTILE, claim=HOSTILE, note=HOSTILE),
        verdict=replace(trial.verdict, explanation=HOSTILE, warnings=(HOSTILE,), advice=HOSTILE),
    )
    page = tmp_path / "report.html"
    page.write_text(
        render(replace(record, command=HOSTILE, trials=(hostile_trial,)), {HOSTILE: samples[trial.name]})
    )
    assert "\x1b" not in page.read_text()
    with browser.page(page) as tab:
        seen = tab.dom
    assert "<title>owned" not in seen
    assert "<img" not in seen
    assert seen.count("<figcaption>Descriptors over time<") == 1


def test_every_chart_has_a_text_alternative_and_no_identifier_comes_twice(
    record: RunRecord, samples: dict[str, list[Sample]]
) -> None:
    text = render(record, samples)
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert charts
    for chart in charts:
        named = re.search(r'role="img" aria-labelledby="(\S+) (\S+)"', chart)
        assert named
        assert re.search(rf'<title id="{named[1]}">[^<]{{5,}}</title>', chart)
        assert re.search(rf'<desc id="{named[2]}">[^<]{{20,}}</desc>', chart)
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_several_trials_open_with_the_table_and_one_has_none(
    record: RunRecord, samples: dict[str, list[Sample]]
) -> None:
    text = render(record, samples)
    assert text.index("<h2>All trials</h2>") < text.index("<svg")
    assert "what the analysis said" in text
    guard = replace(record.trials[0], about=About())
    alone = render(replace(record, trials=(guard,)), samples)
    assert "All trials" not in alone
    assert "what the analysis said" not in alone


def test_the_evidence_has_points_line_ceiling_and_what_does_not_apply_is_absent(
    record: RunRecord, samples: dict[str, list[Sample]]
) -> None:
    trial = record.trials[0]
    assert trial.verdict
    text = render(replace(record, trials=(trial,)), samples)
    evidence = text[text.index("<svg") : text.index("</svg>")]
    assert evidence.count("<circle") == sum(bool(one.levels) for one in trial.observations if one.settled)
    assert 'class="fit"' in evidence
    assert "12.00 eventfds per connection" in evidence
    assert "RLIMIT_NOFILE 1,024" in text
    bare = replace(
        trial, exit=None, places=None, verdict=replace(trial.verdict, findings=(), bounds=(), warnings=())
    )
    without = render(replace(record, trials=(bare,)), {})
    for absent in (
        "Places",
        "Resources over time",
        "End of the service's log",
        "Also",
        "Smallest detectable leak",
    ):
        assert f"<h3>{absent}</h3>" not in without, absent


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_page(
    width: int,
    scheme: str,
    record: RunRecord,
    samples: dict[str, list[Sample]],
    browser: Browser,
    tmp_path: Path,
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(record, samples))
    with browser.page(page) as tab:
        tab.prefer(scheme)
        tab.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert violations(tab) == []


@pytest.mark.browser
def test_the_printed_page_contains_the_whole_chart(
    record: RunRecord, samples: dict[str, list[Sample]], browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(record, samples))
    with browser.page(page) as tab:
        tab.ask("Emulation.setEmulatedMedia", media="print")
        tab.ask(
            "Emulation.setDeviceMetricsOverride", width=718, height=1000, deviceScaleFactor=1, mobile=False
        )
        outside = """[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0)
            .map(s => s.getBoundingClientRect()).filter(b => b.left < 0 || b.right > innerWidth || b.height < 80)
            .length"""
        assert tab.value(outside) == 0
        shown = "[...document.querySelectorAll('svg.plot')].filter(s => s.getBoundingClientRect().width > 0).length"
        assert tab.value(shown) >= 4 * len(record.trials)
