"""Samples as JSON lines: what ``harness probe`` prints and another machine can read."""

from __future__ import annotations

import json
from dataclasses import asdict

from harness.core.sample import Census, Sample

PROTOCOL = 1


def hello(pid: int, interval: float) -> str:
    """The first line: what speaks, and of whom."""
    return json.dumps({"probe": PROTOCOL, "pid": pid, "interval": interval})


def sample_line(sample: Sample) -> str:
    """One sample; absent values are absent, a gap is named."""
    return json.dumps({key: value for key, value in asdict(sample).items() if value not in (None, ())})


def census_line(census: Census) -> str:
    """One census, under the key ``census``."""
    return json.dumps({"census": asdict(census)})
