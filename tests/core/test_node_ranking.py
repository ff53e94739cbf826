"""Allocations of Node are ranked by the growth that every cycle shows."""

from __future__ import annotations

from harness.runtime.counters import Growth
from harness.runtime.node import lasting


def grown(**bytes_of: float) -> list[Growth]:
    return [Growth(site, 0.1, "samples", "line", size) for site, size in bytes_of.items()]


def test_growth_of_one_cycle_ranks_behind_growth_of_every_cycle() -> None:
    whole = grown(residue=33.0, leak=31.0)
    ranked = lasting(whole, grown(residue=66.0, leak=30.0), grown(leak=32.0))
    assert [growth.site for growth in ranked] == ["leak", "residue"]
