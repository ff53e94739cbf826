"""The static site: opens from the disk without a network, in light and dark, on a phone and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.report.site import render
from tests.history.nightly_runs import measured, month, nightly_run
from tests.reports.devtools import Browser, Page

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[31m"
)
TARGET, OTHER = "app.py /events", "server /api"
DRAWN = "document.documentElement.dataset.charts === '2'"
NAMES = {TARGET: "target-app.html", OTHER: "target-other.html"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A month with a leak from night 18 on, beside a healthy target. Night 20 has a report."""
    folder = tmp_path_factory.mktemp("site")
    entries = month()
    entries += [
        nightly_run(100 + n, measured(0.0), measured(0.0, metric="threads", kind=""), target=OTHER)
        for n in range(9)
    ]
    (folder / "report.html").write_text("<title>the report of night 20</title>")
    for name, text in render(entries, NAMES, {entries[20].digest: "report.html"}).items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def page(site: Path, browser: Browser) -> Iterator[Page]:
    with browser.page(site / NAMES[TARGET]) as shown:
        yield shown


def test_the_index_lists_targets_and_open_regressions(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert re.findall(r'href="(target-[^"#]+)"', text) == list(NAMES.values())
    table = text[text.index('id="regressions"') : text.index("</section>", text.index('id="regressions"'))]
    assert "0.00 → 0.21 fds/connection" in table
    assert "0000011000 → 0000012000" in table
    assert table.count("<tr>") == 2
    assert "None." in (site / NAMES[OTHER]).read_text()


def test_each_page_counts_its_own_runs_and_one_is_one_run() -> None:
    nights = [
        nightly_run(1, measured(0.0), target=TARGET),
        *(nightly_run(n, measured(0.0), target=OTHER) for n in (2, 3)),
    ]
    pages = render(nights, NAMES, {})
    index, first, second = (" ".join(pages[name].split()) for name in ("index.html", *NAMES.values()))
    assert "3 runs from" in index
    assert "· 1 run</span>" in index
    assert "· 1 run from" in first
    assert "<summary>1 run</summary>" in first
    assert "· 2 runs from" in second
    assert "<summary>2 runs</summary>" in second


@pytest.mark.browser
def test_a_long_name_stays_in_its_card(browser: Browser, tmp_path: Path) -> None:
    """The name of a file has no space at which a line could break."""
    names = {f"orders_dashboard_service_{n}.py /events": f"target-{n}.html" for n in range(8)}
    nights = [nightly_run(n, measured(0.0), target=name) for n, name in enumerate(names, 1)]
    for name, text in render(nights, names, {}).items():
        (tmp_path / name).write_text(text)
    with browser.page(tmp_path / "index.html") as shown:
        shown.wait("[...document.querySelectorAll('.card')].every(one => one.scrollWidth <= one.clientWidth)")


def test_pages_refer_to_nothing_outside_the_site(site: Path) -> None:
    for path in site.glob("*.html"):
        text = path.read_text()
        where = re.findall(r"""\s(?:src|href)\s*=\s*["']?(?!#)([^"'#\s>]+)""", text)
        assert all((site / one).is_file() for one in where), where
        assert not re.findall(r"url\(|@import", text)


@pytest.mark.browser
def test_a_browser_draws_every_chart_without_a_network(site: Path, browser: Browser) -> None:
    for name in ("index.html", *NAMES.values()):
        with browser.page(site / name) as shown:
            if name != "index.html":
                shown.wait(DRAWN)
            assert shown.dom.count("<canvas") == (0 if name == "index.html" else 2)
        assert browser.console == []


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "ground"), [("dark", (20, 23, 26)), ("light", (251, 251, 249))])
def test_light_and_dark_follow_the_reader(scheme: str, ground: tuple[int, int, int], page: Page) -> None:
    page.prefer(scheme)
    assert page.upper_left == ground


@pytest.mark.browser
def test_the_site_prints_with_every_run(page: Page) -> None:
    page.wait(DRAWN)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", page.printed)) <= 4


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_screen(width: int, page: Page) -> None:
    page.ask(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    page.ask("Page.reload")
    page.wait(DRAWN)
    assert page.value("document.documentElement.scrollWidth") <= width
    for name in ("canvas", "h1", "h4", ".change"):
        right = page.value(f"document.querySelector('{name}').getBoundingClientRect().right")
        assert 0 < right <= width, name


@pytest.mark.browser
def test_hovering_names_run_commit_and_verdict_and_a_click_opens_the_report(page: Page) -> None:
    page.wait(DRAWN)
    page.value("document.querySelector('.u-over').scrollIntoView({block: 'center'})")
    box = page.value(
        "(r => [r.left, r.top, r.width, r.height])(document.querySelector('.u-over').getBoundingClientRect())"
    )
    x, y = box[0] + box[2] * (20 + 0.5) / 30, box[1] + box[3] / 2
    page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.wait("!document.getElementById('tip').hidden")
    said = page.value("document.getElementById('tip').textContent")
    assert "2026-01-21T02-00-00-20" in said
    assert "leaking · commit 0000014000" in said
    assert "0.21" in said
    assert "fds/connection" in said
    page.click(x, y)
    page.wait("document.title === 'the report of night 20'")


@pytest.mark.browser
def test_a_change_point_is_marked_where_it_is(page: Page) -> None:
    """The dashed line's colour stands in the canvas between night 17 and night 18, and in no stable chart."""
    page.wait(DRAWN)
    reds = page.value(
        """[...document.querySelectorAll('canvas')].map(canvas => {
          const ctx = canvas.getContext('2d'), found = new Set();
          const data = ctx.getImageData(0, 0, canvas.width, canvas.height).data;
          for (let i = 0; i < data.length; i += 4) {
            if (data[i] > 180 && data[i + 1] < 70 && data[i + 2] < 80 && data[i + 3] > 200) {
              found.add((i / 4) % canvas.width);
            }
          }
          return [canvas.width, [...found].sort((a, b) => a - b)];
        })"""
    )
    (_, leak), (_, stable) = reds
    assert stable == []
    left, width = page.value("(u => [u.offsetLeft, u.offsetWidth])(document.querySelector('.u-over'))")
    ratio = page.value("devicePixelRatio")
    assert min(abs(one / ratio - (left + width * 18 / 30)) for one in leak) <= 2


@pytest.mark.browser
def test_texts_of_a_history_never_become_markup(tmp_path: Path, browser: Browser) -> None:
    entries = []
    for entry in month():
        trial = replace(entry.trials[0], target=HOSTILE, load=HOSTILE, profile=HOSTILE)
        metrics = tuple(replace(one, kind=HOSTILE, unit=HOSTILE) for one in trial.metrics[:1])
        entries.append(
            replace(
                entry, run_id=HOSTILE, branch=HOSTILE, commit=HOSTILE, outcome=HOSTILE, kernel=HOSTILE,
                trials=(replace(trial, metrics=metrics, outcome=HOSTILE),),
            )
        )  # fmt: skip
    for name, text in render(entries, {HOSTILE: "target.html"}, {}).items():
        (tmp_path / name).write_text(text)
        assert "\x1b" not in text
        with browser.page(tmp_path / name) as shown:
            if name == "target.html":
                shown.wait(DRAWN.replace("2", "1"))
            assert "<title>owned" not in shown.dom
            assert "<img" not in shown.dom
            canvases = shown.dom.count("<canvas")
    assert canvases == 1
