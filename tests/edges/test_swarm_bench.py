"""The swarm's benchmark works from end to end; ``make bench`` checks the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.soak(reason="7 s of a core for what `make bench` runs in full")
def test_the_benchmark_with_tiny_numbers(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    argv = [sys.executable, "-m", "bench.swarm", "--smoke", "--json", str(table)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in (0, 1), done.stderr  # tiny numbers need not hold
    assert done.stderr == ""
    rows = {(row["metric"], row["rival"]): row for row in json.loads(table.read_text())}
    lost = rows["events lost or wrongly counted, 20 streams x 20/s", "asked"]
    assert lost["value"] == 0
    assert rows["open, first event, close at concurrency 50", "yardstick"]["rival_value"] > 0
    assert rows["open, first event, close at concurrency 50", "epoll"]["rival_value"] > 0
    assert rows["CPU per event, 20 streams x 20/s", "epoll"]["rival_value"] > 0
    assert rows["CPU per event, 20 streams x 20/s", "yardstick"]["value"] > 0
    assert all(set(row) == set(lost) for row in rows.values())
