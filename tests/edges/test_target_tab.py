"""The Target tab in Chromium: in Locust's page frame, in its theme, at any width, after a reload, and for everybody."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from harness.target.spawn import free_port
from tests.edges.command_line import DEADLINE
from tests.edges.test_locustfiles import follow, locust, service, start, wait_for_events
from tests.reports.axe import violations
from tests.reports.devtools import Page, opened

FRAME = "document.getElementById('harness-frame')"
INSIDE = f"{FRAME}.contentDocument"
DARK = "documentElement.classList.contains('dark')"
pytestmark = pytest.mark.timeout(300)


def wait_for_readings(web: str) -> None:
    """Until a level before and a peak since the start are known."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        state = json.loads(urllib.request.urlopen(f"{web}/target/samples", timeout=DEADLINE).read())
        if len(state["samples"]) > 5 and state["classes"] and state["metrics"]["fds"]["peak"] is not None:
            return
        time.sleep(0.1)
    raise AssertionError("the tab never had readings")


def resize(page: Page, width: int) -> None:
    page.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)


def test_the_tab_in_the_page_frame_in_both_themes_and_widths(tmp_path: Path) -> None:
    with service(tmp_path) as (port, child):
        web = f"http://127.0.0.1:{free_port()}"
        command = locust("status", port, "--web-port", web.rpartition(":")[2])
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as ui:
            try:
                follow(f"{web}/target/samples", child.pid)
                start(f"{web}/swarm", port)
                wait_for_events(f"{web}/stats/requests/csv")
                wait_for_readings(web)
                with opened(f"{web}/", tmp_path / "profile") as page:
                    look_in_the_frame(page)
                    look_at_the_page(page, f"{web}/target")
                    look_at_the_figures(page, web)
            finally:
                ui.send_signal(signal.SIGTERM)
                ui.wait(DEADLINE)


def look_in_the_frame(page: Page) -> None:
    page.wait("!!document.getElementById('harness-target')")
    page.value("document.getElementById('harness-target').click()")
    shown = f"!!{FRAME} && {INSIDE}.querySelectorAll('#metrics tr').length === 3"
    page.wait(shown)
    assert page.value("location.hash") == "#target"
    page.ask("Page.reload")
    page.wait(shown)
    top = "{}.getBoundingClientRect().top"
    bar, frame = (
        page.value(top.format(what)) for what in ("document.querySelector('[role=tablist]')", FRAME)
    )
    assert bar < frame, "Locust's own frame stays above the tab"
    for theme in ("dark", "light", "dark"):
        # What Locust's own button does.
        page.value(f"localStorage.theme = '{theme}'")
        page.wait(f"{INSIDE}.{DARK} === {str(theme == 'dark').lower()}")
    page.value("document.querySelector('[role=tab]').click()")
    page.wait(f"{FRAME} === null && location.hash === ''")


def look_at_the_page(page: Page, url: str) -> None:
    page.ask("Page.navigate", url=url)
    page.wait("location.pathname === '/target' && document.querySelectorAll('#metrics tr').length === 3")
    page.wait("document.querySelectorAll('canvas').length === 3")
    for theme in ("light", "dark"):
        page.value(f"localStorage.theme = '{theme}'; theme()")
        page.wait(f"document.{DARK} === {str(theme == 'dark').lower()}")
        for width in (1280, 400):
            resize(page, width)
            page.wait(f"document.documentElement.scrollWidth <= {width}")
            page.wait(
                f"[...document.querySelectorAll('canvas')].every(c => c.getBoundingClientRect().right <= {width})"
            )
            assert violations(page) == [], (theme, width)


def look_at_the_figures(page: Page, web: str) -> None:
    """Two users hold a stream each; then the test is stopped."""
    streams = "document.getElementById('streams').textContent"
    page.wait(f"/^2 streams open, [1-9]/.test({streams})")
    cells = "[...document.querySelectorAll('#metrics tr')].map(row => [1, 2, 3].map(i => row.cells[i].textContent))"
    page.wait(f"{cells}.every(row => row.every(text => /[0-9]/.test(text)))")
    assert page.value("plots.map(plot => plot.axes[0].label)") == ["time since the test started (s)"] * 3
    assert page.value("document.getElementById('charts').textContent").count("memory (MiB)") == 1
    page.wait("marks.map(mark => mark.what).join() === 'start'")
    request = urllib.request.Request(f"{web}/stop", b"", headers={"Origin": web})
    urllib.request.urlopen(request, timeout=DEADLINE).close()
    page.wait(
        f"marks.map(mark => mark.what).join() === 'start,stop' && {streams}.startsWith('0 streams open')"
    )
