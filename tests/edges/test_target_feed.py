"""The figures of the Target tab and of its section in Locust's report, from readings with a known truth."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from typing import Any

import pytest

from harness.swarm.target_feed import StreamTotals, TargetFeed, growth, summary
from harness.swarm.target_section import section

START, STOP = 1000.0, 1060.0
BEFORE = 10  # descriptors without a client


def readings(leak: float, jitter: int = 0) -> list[dict[str, Any]]:
    """Ten a second, 10 s before the test and 10 s after it: 20 streams open at once, each answered after a second.
    Each answered stream keeps ``leak`` descriptors and twice as many threads."""
    chance, samples = random.Random(7), []
    for tick in range(800):
        at = START - 10 + tick / 10
        answered = int(20 * max(0.0, min(at, STOP) - START))
        now_open = 20 if START <= at < STOP else 0
        noise = chance.randint(-jitter, jitter)
        samples.append(
            {
                "at": at,
                "open": now_open,
                "answered": answered,
                "fds": BEFORE + now_open + int(leak * answered) + noise,
                "threads": 3 + int(2 * leak * answered),
                "rss": 50 << 20,
            }
        )
    return samples


def test_before_peak_and_now_of_each_metric() -> None:
    found = summary(readings(0.5), "fds", START)
    assert (found["before"], found["peak"], found["now"]) == (10, 10 + 20 + 599, 10 + 600)
    assert summary(readings(0.5), "fds", None)["before"] is None, "no test was started yet"


@pytest.mark.parametrize("leak", [0.0, 0.05, 0.5])
def test_growth_per_answered_stream_has_an_interval_that_holds_the_truth(leak: float) -> None:
    """The descriptor of a stream that is open is not growth."""
    during = [sample for sample in readings(leak, jitter=2) if sample["at"] >= START]
    found = growth(during, "fds")
    assert found
    assert found["low"] <= leak <= found["high"]
    assert found["high"] - found["low"] < 0.05
    threads = growth(during, "threads")
    assert threads
    assert threads["rate"] == pytest.approx(2 * leak, abs=0.02)
    assert growth(during[:5], "fds") is None, "too few readings for an interval"


def feed_of(samples: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> TargetFeed:
    feed = TargetFeed(
        "http://elsewhere.example:80", None, lambda: StreamTotals(open=17, answered=1200, cut=3)
    )
    for at, what in ((START, "start"), (STOP, "stop")):
        monkeypatch.setattr("harness.swarm.target_feed.time.time", lambda at=at: at)
        feed.mark(what)
    feed.samples.extend(samples)
    feed.classes = {"socket": 4, "file": 9, "<b>": 1}
    return feed


def test_the_section_of_the_report_has_everything_that_the_tab_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    page = section(feed_of(readings(0.5), monkeypatch).state())
    assert "17 streams open, 1200 answered, 3 cut short by Stop" in page
    rows = re.findall(r"<tr><td>Descriptors</td>(.*?)</tr>", page)
    assert re.findall(r"<td>(.*?)</td>", rows[0])[:3] == ["10", "629", "610"]
    assert re.search(r"<td>0\.\d\d \(0\.\d\d to 0\.\d\d\)</td>", rows[0]), "growth with its interval"
    assert "<td>50.0 MiB</td>" in page
    for mark in ("start", "stop"):
        assert page.count(f">{mark}</text>") == 3, "marked in each chart"
    assert page.count("time since the test started (s)") == 3
    assert re.findall(r'y="160">(-?\d+)</text>', page)[:5] == ["-10", "10", "30", "50", "70"]
    assert page.index("<td>file</td>") < page.index("<td>socket</td>"), "the most first"
    assert "<b>" not in page
    assert "another machine" in page, "why there are no readings"


def test_a_feed_without_any_reading_has_a_section_all_the_same() -> None:
    page = section(TargetFeed("http://elsewhere.example:80", None).state())
    assert page.count("<td>–</td>") == 3 * 4
    assert "<svg" not in page


TALKATIVE = """
import json, sys
sys.stderr.write("debug: " * 50_000)
sys.stderr.flush()
print(json.dumps({"at": 1.0, "fds": 7}), flush=True)
sys.stderr.write("no such process")
"""
FEED = """
import sys
from gevent import monkey
monkey.patch_all()
import gevent
from harness.swarm.target_feed import TargetFeed
feed = TargetFeed("http://127.0.0.1:80", None, probe_command=[sys.executable, "-c", sys.argv[1]])
with gevent.Timeout(20):
    while not feed.samples or not feed.problem:
        gevent.sleep(0.02)
import json
print(json.dumps([feed.samples[0]["fds"], feed.problem]))
"""


def test_a_command_that_writes_much_to_standard_error_does_not_stop_the_readings() -> None:
    """A pipe holds 64 KiB, and nobody read it before the command had ended."""
    made = subprocess.run(
        [sys.executable, "-c", FEED, TALKATIVE], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr[-500:]
    fds, problem = json.loads(made.stdout)
    assert fds == 7
    assert problem.endswith("no such process")
    assert len(problem) <= 300
