"""The constants that docs/detector.md names are those of the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "detector.md").read_text()
ROWS = re.findall(r"^\| `([\w.]+)\.([A-Z_]+)` \| ([\d.]+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
NAMED = re.findall(r"^\| `[\w.]+\.[A-Z_]+` \|", PAGE, re.MULTILINE)


def test_every_row_is_read() -> None:
    assert len(ROWS) == len(NAMED) >= 25


@pytest.mark.parametrize(("module", "name", "value"), [row[:3] for row in ROWS])
def test_a_constant_has_the_value_that_the_page_gives(module: str, name: str, value: str) -> None:
    assert getattr(importlib.import_module(f"harness.core.{module}"), name) == float(value)


def test_the_alarm_is_the_one_that_the_page_derives() -> None:
    certain = importlib.import_module("harness.core.judge.certain_growth")
    assert "reaches 1,000" in PAGE
    assert round(2.718281828459045**certain.CERTAIN) == 1000
