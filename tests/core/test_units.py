"""Quantities as people write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import harness
from harness.core import units
from harness.core.errors import ConfigError
from harness.core.units import counted


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("1.5", 1.5), (" 3 s ", 3)]
)
def test_durations(text: str, seconds: float) -> None:
    assert units.duration("--x", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5x", "-3s", "s", "0", "nan", "1e999x", "5 m s"])
def test_nonsense_names_the_option_and_what_was_expected(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--x .*expected"):
        units.duration("--x", text)


def test_sizes_rates_and_budgets() -> None:
    assert units.size("x", "64 KiB") == 65536
    assert units.size("x", "2 MB") == 2_000_000
    assert units.rate("x", "1/1000") == pytest.approx(0.001)
    assert units.per_unit("x", "1 KiB/connection") == (1024.0, "connection")
    for bad in ("0", "1/0", "x", "-1"):
        with pytest.raises(ConfigError):
            units.rate("x", bad)
    with pytest.raises(ConfigError):
        units.per_unit("x", "1/fortnight")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (counted(1, "connection"), "1 connection"),
        (counted(0, "connection"), "0 connections"),
        (counted(2, "process"), "2 processes"),
        (counted(1, "process"), "1 process"),
        (counted(12000, "connection", ","), "12,000 connections"),
        (counted(1.2, "more connection", ".0f"), "1 more connection"),
        (counted(1.2, "connection", "g"), "1.2 connections"),
        (counted(1, "block", "+,"), "+1 block"),
        (counted(1, "connection", ">6"), "     1 connection"),
        (counted("1", "cycle"), "1 cycle"),
        (counted("11", "cycle"), "11 cycles"),
    ],
)
def test_a_noun_agrees_with_the_number_that_is_read(said: str, expected: str) -> None:
    assert said == expected


# Constants, and what cannot be one where it is said.
NEVER_ONE = {
    "core/judge_memory.py: {length} blocks",
    "core/judge_memory.py: {max(missed, 2) * BLOCK:.0f} more connections",
    "core/outline.py: {MAX_WARMUP} cycles",
    "core/outline.py: {PACE:.0f} connections",
    "core/outline.py: {WARM:,.0f} connections",
    "core/outline.py: {blocks} blocks",
    "core/plan.py: {goal.cycles} load cycles",
    "core/selftest.py: {MAX_CYCLES} cycles",
    "core/sse_lines.py: {max_event} bytes",
    "core/sse_lines.py: {self._max_event} bytes",
    "core/sse_lines.py: {self._max_line} bytes",
    "core/stalled.py: {since} cycles",
    "report/memory.py: {box.blocks * scale:,.2f} blocks",
    "report/memory.py: {box.size * scale:,.1f} bytes",
    "report/memory.py: {root.size * scale:,.1f} bytes",
}


def test_no_text_has_its_own_way_of_counting() -> None:
    """Numbers that may be one meet their nouns in ``counted`` alone."""
    nouns = "connections|cycles|streams|events|descriptors|threads|blocks|profiles|endpoints|exceptions|tracebacks"
    nouns += "|bytes|fds"
    alone = re.compile(rf"\{{[^{{}}]+\}} (?:more |further |load )?(?:{nouns})\b")
    root = Path(harness.__file__).parent
    found = [
        f"{path.relative_to(root)}: {match[0]}"
        for folder in ("core", "report")
        for path in sorted((root / folder).rglob("*.py"))
        for match in alone.finditer(path.read_text())
    ]
    assert set(found) == NEVER_ONE
