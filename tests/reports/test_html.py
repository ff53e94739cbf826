"""report.html: opens from the disk without a network, in light and dark, prints, and trusts nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.record import ExitInfo, RunRecord
from harness.core.record_codec import from_dict
from harness.core.sample import Sample
from harness.report.html import render
from harness.store.run_dir import RunDirectory
from tests.reports.browser import chromium, first_pixel

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


def test_it_names_nothing_outside_itself(record: RunRecord, samples: dict[str, list[Sample]]) -> None:
    text = render(record, samples)
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!#)[^"'\s>]+""", text)
    assert not re.findall(r"url\(|@import", text)


def test_a_browser_draws_every_chart_without_a_network(
    record: RunRecord, samples: dict[str, list[Sample]], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(record, samples))
    seen = chromium(page, tmp_path / "profile", "--dump-dom", "--virtual-time-budget=2000")
    assert seen.stdout.count("<canvas") == 3 * len(record.trials)
    assert "CONSOLE" not in seen.stderr, seen.stderr


@pytest.mark.parametrize(("scheme", "ground"), [(0, (20, 23, 26)), (1, (251, 251, 249))])
def test_light_and_dark_follow_the_reader(
    scheme: int,
    ground: tuple[int, int, int],
    record: RunRecord,
    samples: dict[str, list[Sample]],
    tmp_path: Path,
) -> None:
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_text(render(record, samples))
    prefers = f"--blink-settings=preferredColorScheme={scheme}"
    chromium(page, tmp_path / "profile", prefers, "--window-size=1200,900", f"--screenshot={shot}")
    assert first_pixel(shot) == ground


def test_it_prints(record: RunRecord, samples: dict[str, list[Sample]], tmp_path: Path) -> None:
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(render(record, samples))
    chromium(page, tmp_path / "profile", f"--print-to-pdf={pdf}")
    pages = re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes())
    assert 1 <= len(pages) <= 2 * len(record.trials) + 2


def test_what_a_target_said_never_becomes_markup(
    record: RunRecord, samples: dict[str, list[Sample]], tmp_path: Path
) -> None:
    trial = record.trials[0]
    assert trial.verdict
    told = replace(
        trial,
        name=HOSTILE,
        exit=ExitInfo(1, 1.0, 1, (HOSTILE,)),
        notes=(HOSTILE,),
        extra={**trial.extra, "summary": HOSTILE, "said": HOSTILE, "note": HOSTILE},
        verdict=replace(trial.verdict, explanation=HOSTILE, warnings=(HOSTILE,), advice=HOSTILE),
    )
    page = tmp_path / "report.html"
    page.write_text(render(replace(record, command=HOSTILE, trials=(told,)), {HOSTILE: samples[trial.name]}))
    assert "\x1b" not in page.read_text()
    seen = chromium(page, tmp_path / "profile", "--dump-dom", "--virtual-time-budget=2000")
    assert "<title>owned" not in seen.stdout
    assert "<img" not in seen.stdout
    assert seen.stdout.count("<canvas") == 3
