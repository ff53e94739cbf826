"""The generator itself gives everything back: descriptors, threads, objects and blocks after many streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edges.servers.counting_server import CountingServer

ROOT = Path(__file__).parents[2]
WARMUP = 2  # rounds: first uses import, fill caches and grow tables
# 10 to 40 blocks come with each round, however many streams it has (220 or 22,000); none comes with a stream.
NOISE = {"fds": 0, "threads": 0, "objects": 5, "blocks": 150}


def rounds(streams: int, number: int, planted: bool = False) -> list[dict[str, int]]:
    """What the process held after each round."""
    with CountingServer(events=1, delay=0.0) as server:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.edges.servers.sse_endurance",
                server.url,
                str(streams),
                str(number),
            ],
            cwd=ROOT,
            env={**os.environ, "PLANTED": str(int(planted))},
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        opened = sum(one["opened"] for one in found) + number * (streams // 200) * 20
        assert server.settle(opened).accepted == opened
    assert all(one["open_now"] == 0 and one["opened"] == streams for one in found)
    return found


def growth(found: list[dict[str, int]]) -> dict[str, int]:
    """What is held more at the end than after the warm-up."""
    return {name: found[-1][name] - found[WARMUP - 1][name] for name in NOISE}


def test_ten_thousand_streams_leave_nothing_behind() -> None:
    grown = growth(rounds(2_500, 4))
    assert all(grown[name] <= NOISE[name] for name in NOISE), grown


def test_a_planted_leak_is_seen() -> None:
    """A descriptor a round, and a block for every other stream."""
    grown = growth(rounds(600, 3, planted=True))
    assert grown["fds"] == 1
    assert grown["blocks"] > NOISE["blocks"]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_fifty_thousand_streams_leave_nothing_behind() -> None:
    grown = growth(rounds(10_000, 7))
    assert all(grown[name] <= NOISE[name] for name in NOISE), grown
