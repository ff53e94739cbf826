"""The reference service's page in Chromium: live figures, and what it says when the broker or the service is gone."""

from __future__ import annotations

from pathlib import Path

from tests.edges.reference_process import Broker, Service
from tests.reports.axe import violations
from tests.reports.devtools import opened

FAST = ("--profile", "fixed", "--time-scale", "0.02", "--timeout", "2")
STATE = "document.getElementById('status').className"
GREY = "document.querySelectorAll('#components .unknown').length === 4"


def test_the_page_shows_what_becomes_of_broker_and_service(tmp_path: Path) -> None:
    with (
        Broker() as broker,
        Service(tmp_path / "log", broker, *FAST) as service,
        opened(f"{service.url}/", tmp_path / "profile") as page,
    ):
        page.wait(f"{STATE} === 'live' && location.pathname === '/dashboard'")
        before = page.value("document.getElementById('seen').textContent")
        page.wait(f"document.getElementById('seen').textContent !== {before!r}")
        page.wait("document.querySelectorAll('#metrics polyline').length === 5")
        page.value('update({ data: \'{"system_health":null,"metrics":{"cpu_percent":null}}\' })')
        page.value("update({ data: 'null' })")
        page.wait(f"{STATE} === 'live'")
        for scheme in ("light", "dark"):
            page.ask(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            for width in (1280, 400):
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                page.ask("Emulation.setDeviceMetricsOverride", **size)
                page.wait(f"document.documentElement.scrollWidth <= {width}")
                assert violations(page) == [], (scheme, width)
        broker.process.kill()
        page.wait(f"{STATE} === 'degraded'")
        service.stop()
        page.wait(f"['reconnecting', 'offline'].includes({STATE}) && {GREY}")
        with (
            Broker() as other,
            Service(tmp_path / "log2", other, *FAST, "--port", str(service.port)) as again,
        ):
            page.wait(f"{STATE} === 'live'")
            assert again.get("/debug/counters")["streams"]["open"] == 1
