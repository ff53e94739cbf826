"""A scripted month: 30 nights, a leak from night 18 on, from saved runs to the marked chart and the webhook."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from pathlib import Path

from harness.core.design import Goal
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.notice import payload
from harness.core.record import RunRecord
from harness.experiment.history import history_place, record_run
from harness.export.webhook import Webhook
from harness.store.run_dir import RunDirectory, run_id
from tests.core.series import FDS, play
from tests.edges.command_line import harness_here
from tests.history.webhook_server import receiver

LEAK, LENGTH = 18, 30
START = datetime.datetime(2026, 2, 1, 2, tzinfo=datetime.UTC)


def soak(number: int, reports: Path) -> tuple[RunRecord, Path]:
    """One nightly run on disk: the levels of the service are scripted, plan and judge are the real ones."""
    rate = 0.21 if number >= LEAK else 0.0
    trial, _ = play(
        lambda did: {FDS: 9.0 + int(rate * did.connections), Key("threads"): 4.0 + number % 2},
        Goal(connections=300, concurrency=50, dwell=2.0, paths=("/events",)),
        sensitivity=1e-2,
    )
    trial = replace(trial, name="soak", verdict=judge(trial))
    now = START + datetime.timedelta(days=number)
    machine = {"kernel": "6.1", "commit": f"{number:02d}" * 20, "branch": "main", "dirty": False}
    record = RunRecord(run_id(now, number), "harness soak", now.isoformat(), number, (trial,), machine)
    with RunDirectory.create(None, record.run_id, reports=reports) as directory:
        directory.checkpoint(record)
        directory.write_text("report.html", f"<title>{record.run_id}</title>")
    return record, directory.path


def test_a_leak_within_a_month_is_charted_and_notified_once(tmp_path: Path) -> None:
    place = history_place(str(tmp_path / "reports" / "history.db"))
    with receiver(503, 200) as hook:
        for number in range(LENGTH):
            record, folder = soak(number, tmp_path / "reports")
            for notice in record_run(record, folder, place):
                Webhook(hook.url).send(payload(notice), pause=lambda _: None)
    told = hook.messages
    assert len(told) == 2, "once, and once more because the first try met 503"
    assert (told[1]["previous"], told[1]["outcome"], told[1]["commit"][:2]) == ("bounded", "leaking", "18")

    gate = harness_here(tmp_path, "trend", "--fail-on", "regression")
    assert gate.returncode == 1, gate.stdout + gate.stderr
    (line,) = (line for line in gate.stdout.splitlines() if "REGRESSION" in line)
    assert (
        "rate of fds per connection rose from 0.00 to 0.21 between commit 1717171717 and 1818181818, 12 runs ago"
        in line
    )

    site = harness_here(tmp_path, "history", "site", "site")
    assert site.returncode == 0, site.stderr
    (page,) = (tmp_path / "site").glob("target-*.html")
    text = page.read_text()
    assert '"changes":[{"index":18,"rose":true,"open":true}]' in text
    reports = set(re.findall(r'href="(reports/[^"]+)"', text))
    assert len(reports) == LENGTH
    assert all((tmp_path / "site" / one).is_file() for one in reports)
