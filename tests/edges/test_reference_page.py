"""The reference service's page in Chromium: live figures, and the page without a broker or a service."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.edges.reference_process import Broker, Service, wait_for
from tests.reports.axe import violations
from tests.reports.devtools import Page, opened

FAST = ("--profile", "fixed", "--time-scale", "0.02", "--timeout", "2", "--recovery", "0.5")
STATE = "document.getElementById('status').className"
GREY = "document.querySelectorAll('#components .unknown').length === 4"
SHAPES = {"live": "●", "reconnecting": "◌", "degraded": "▲", "offline": "■"}
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def update(page: Page, data: object) -> None:
    """Hand the page one event as the stream would; an exception in the page fails the test."""
    event = json.dumps({"data": data if isinstance(data, str) else json.dumps(data)})
    assert page.value(f"try {{ update({event}); 'fine' }} catch (error) {{ String(error) }}") == "fine", data


def test_the_page_shows_that_broker_and_service_stop_and_start(tmp_path: Path) -> None:
    with (
        Broker() as broker,
        Service(tmp_path / "log", broker, *FAST) as service,
        opened(f"{service.url}/", tmp_path / "profile") as page,
    ):
        page.wait(f"{STATE} === 'live' && location.pathname === '/dashboard'")
        before = page.value("document.getElementById('seen').textContent")
        page.wait(f"document.getElementById('seen').textContent !== {before!r}")
        page.wait("document.querySelectorAll('#metrics polyline').length === 5")
        points = page.value("document.querySelector('#metrics polyline').getAttribute('points')")
        page.wait(f"document.querySelector('#metrics polyline').getAttribute('points') !== {points!r}")
        broker.process.kill()
        broker.process.wait()
        page.wait(f"{STATE} === 'degraded'")
        with Broker(broker.endpoint):
            page.wait(f"{STATE} === 'live'")
        service.stop()
        page.wait(f"['reconnecting', 'offline'].includes({STATE}) && {GREY}")
        with (
            Broker() as other,
            Service(tmp_path / "log2", other, *FAST, "--port", str(service.port)) as again,
        ):
            page.wait(f"{STATE} === 'live'")
            assert again.get("/debug/counters")["streams"]["open"] == 1


SHAPELESS: list[Any] = [
    None,
    [],
    0,
    "text",
    "{",
    "",
    {},
    {"system_health": None, "services": None, "metrics": None},
    {"system_health": {"status": None, "uptime": None, "components": None}},
    {
        "system_health": {
            "status": 7,
            "uptime": "x",
            "components": {"broker": None, "state": {"status": None}},
        }
    },
    {"system_health": {"components": [None, 1]}, "metrics": {"cpu_percent": None, "memory_mb": "x"}},
    {"metrics": {"cpu_percent": {}, "memory_mb": []}},
    {"system_health": {"status": "<img src=x onerror=alert(1)>", "components": {"<b>": {"status": "<b>"}}}},
]


def test_the_page_looks_right_in_every_state_and_with_any_data(tmp_path: Path) -> None:
    """No violation of axe-core, and nothing wider than a phone: light and dark, live, degraded and offline."""
    with (
        Broker() as broker,
        Service(tmp_path / "log", broker, *FAST) as service,
        opened(f"{service.url}/", tmp_path / "profile") as page,
    ):
        page.wait(f"{STATE} === 'live'")
        for data in SHAPELESS:
            update(page, data)
        assert page.value("document.querySelectorAll('img, b').length") == 0
        page.wait(f"{STATE} === 'live'")
        page.wait("document.querySelectorAll('#metrics polyline').length === 5")
        # From here on the page is still: what it shows is what the test put there.
        page.value("source.close(); watch = () => 0; lost = () => 0; clearInterval(1)")
        for number in range(50):
            page.value(f"clearInterval({number})")
        page.ask("Accessibility.enable")
        colours = {}
        for state, shape in SHAPES.items():
            page.value(f"show({state!r}); list({json.dumps(state in ('live', 'degraded'))})")
            assert page.value("document.getElementById('status').textContent") == f"{shape} {state}"
            for scheme in ("light", "dark"):
                page.ask(
                    "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
                )
                colours[state, scheme] = page.value(
                    "getComputedStyle(document.getElementById('status')).color"
                )
                # A phone in every state, a desk in the two that differ most.
                for width in (400, 1280) if state in ("live", "offline") else (400,):
                    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                    page.ask("Emulation.setDeviceMetricsOverride", **size)
                    page.wait(f"innerWidth === {width}")
                    assert page.value(WIDER) is False, (state, scheme, width)
                    assert violations(page) == [], (state, scheme, width)
        for scheme in ("light", "dark"):
            shown = {colours[state, scheme] for state in ("live", "degraded", "offline")}
            assert len(shown) == 3, "a colour for each state, beside its shape and its text"


def test_a_stream_that_stays_open_and_silent_is_not_live(tmp_path: Path) -> None:
    with (
        Broker() as broker,
        Service(tmp_path / "log", broker, *FAST, "--dashboard-interval", "3600") as service,
        opened(f"{service.url}/", tmp_path / "profile") as page,
    ):
        page.wait("events === 1")
        page.wait("document.getElementById('seen').textContent.startsWith('No event for ')")
        assert page.value(STATE) == "degraded"
        assert page.value(GREY) is True
        assert page.value("source.readyState") == 1


def closing(tmp_path: Path) -> float:
    """Seconds until the descriptor of a closed tab is free. A connection that Chromium opened ahead of any request
    belongs to no tab, and stays."""
    with (
        Broker() as broker,
        Service(tmp_path / "log", broker, *FAST) as service,
        opened(f"{service.url}/", tmp_path / "profile") as page,
    ):
        page.wait(f"{STATE} === 'live'")
        before = service.descriptors()["socket"]
        target = page.ask("Target.getTargetInfo")["targetInfo"]["targetId"]
        began = time.monotonic()
        page.ask("Target.closeTarget", targetId=target)
        wait_for(lambda: service.descriptors()["socket"] < before, "a descriptor is free")
        took = time.monotonic() - began
        wait_for(lambda: service.get("/debug/counters")["streams"]["open"] == 0, "the stream is over")
        return took


def test_a_closed_tab_frees_its_descriptors(tmp_path: Path) -> None:
    closing(tmp_path)


@pytest.mark.soak
def test_a_closed_tab_frees_its_descriptors_within_two_seconds(tmp_path: Path) -> None:
    took = closing(tmp_path)
    print(f"a closed tab frees its descriptors within {took:.2f} s")
    assert took < 2.0
