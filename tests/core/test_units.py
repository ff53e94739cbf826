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
def test_a_duration_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert units.duration("--x", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5x", "-3s", "s", "0", "nan", "1e999x", "5 m s"])
def test_an_invalid_quantity_names_the_option_and_what_was_expected(text: str) -> None:
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


# Constants, and numbers that are never one in their text.
NEVER_ONE = {
    "core/judge/memory.py: {length} blocks",
    "core/judge/memory.py: {max(missed, 2) * BLOCK:,.0f} more connections",
    "core/outline.py: {MAX_WARMUP} cycles",
    "core/outline.py: {PACE:.0f} connections",
    "core/outline.py: {WARM_UP_CONNECTIONS:,.0f} connections",
    "core/outline.py: {blocks} blocks",
    "core/plan.py: {goal.cycles} load cycles",
    "core/judge/selftest.py: {MAX_CYCLES} cycles",
    "core/sse/lines.py: {max_event} bytes",
    "core/sse/lines.py: {size} bytes",
    "core/judge/stalled.py: {since} cycles",
    "report/memory.py: {box.blocks * scale:,.2f} blocks",
    "report/memory.py: {box.size * scale:,.1f} bytes",
    "report/memory.py: {root.size * scale:,.1f} bytes",
}


def test_no_text_has_its_own_way_of_counting() -> None:
    """Only ``counted`` joins a number that may be one with its noun."""
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


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [("ms", 0.001), ("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400), ("", 1), (" MIN", 60)],
)
def test_every_unit_of_time(unit: str, seconds: float) -> None:
    assert units.duration("--x", f"3{unit}") == pytest.approx(3 * seconds)


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("", 1), ("B", 1), ("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("KiB", 1024), ("MiB", 1_048_576),
        ("GiB", 1_073_741_824), ("k", 1024), ("M", 1_048_576), ("G", 1_073_741_824), (" kib", 1024),
    ],
)  # fmt: skip
def test_every_unit_of_size(unit: str, size: int) -> None:
    assert units.size("--x", f"3{unit}") == 3 * size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0/connection", (0.0, "connection")),
        ("1/1000 connections", (0.001, "connection")),
        ("2 KiB/event", (2048.0, "event")),
        ("3/hours", (3.0, "hour")),
        ("3e2/1 hour", (300.0, "hour")),
    ],
)
def test_an_amount_is_read_with_its_driver(text: str, expected: tuple[float, str]) -> None:
    assert units.per_unit("x", text) == expected


@pytest.mark.parametrize(
    ("text", "sized", "words"),
    [
        (
            "1",
            True,
            "expected an amount per connection, event, hour or connected hour, such as '1 KiB/connection'",
        ),
        ("1", False, "such as '0/connection'"),
        ("1/", True, "expected an amount per"),
        ("1/conection", True, r"per 'conection'; expected per .*; did you mean 'connection'\?"),
        ("1/0 connections", True, "per 0 connections; expected at least 1"),
        ("1 KiB/connection", False, "'1 KiB': expected a number such as 0 or 12"),
        ("x/connection", True, "'x': expected a size such as"),
    ],
)
def test_a_wrong_amount_names_what_was_expected(text: str, sized: bool, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        units.per_unit("x", text, sized=sized)


@pytest.mark.parametrize(("text", "value"), [("1/4", 0.25), ("0.001", 0.001), ("1e-3", 0.001), ("3", 3.0)])
def test_a_rate_is_read_as_a_fraction_or_a_number(text: str, value: float) -> None:
    assert units.rate("x", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "0/5", "-1", "1/0", "1/-5", "nan", "inf", "1/", "/2", "", "1e999"])
def test_an_invalid_rate_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a rate above 0"):
        units.rate("x", text)


def test_only_a_similar_name_is_suggested() -> None:
    assert units.did_you_mean("fdss", ("fds", "threads")) == "; did you mean 'fds'?"
    assert units.did_you_mean("abcd", ("abxy", "threads")) == "; did you mean 'abxy'?", "half of it is alike"
    assert units.did_you_mean("abcde", ("abxyz", "threads")) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "10s"),
        (10, "10s"),
        (10.1, "20s"),
        (120, "120s"),
        (120.1, "3m"),
        (7200, "120m"),
        (7201, "3h"),
        (10_800, "3h"),
    ],
)
def test_a_round_time_is_at_least_as_long(seconds: float, text: str) -> None:
    assert units.duration_text(seconds) == text
    assert units.duration("--x", text) >= seconds
