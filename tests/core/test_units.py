"""Quantities as people write them."""

from __future__ import annotations

import pytest

from harness.core import units
from harness.core.errors import ConfigError


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
