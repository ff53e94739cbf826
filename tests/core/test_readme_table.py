"""The table of README.md is made from a run, and dated."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.core.record_codec import from_dict
from tools.readme_table import BEGIN, END, README, replaced, table

SAMPLE = Path(__file__).parents[2] / "reports" / "sample" / "run.json"


def test_the_table_has_a_date_and_a_row_for_each_profile() -> None:
    record = from_dict(json.loads(SAMPLE.read_text()))
    made = table(record)
    assert made.startswith("Measured on 2026-11-25 on 2 cores:")
    assert [line.split(" | ")[0] for line in made.splitlines()[4:10]] == [
        f"| {one.name}" for one in record.trials
    ]


def test_readme_has_the_markers_and_only_what_is_between_them_changes() -> None:
    text = README.read_text()
    new = replaced(text, "TABLE")
    assert new.partition(BEGIN)[0] == text.partition(BEGIN)[0]
    assert new.partition(END)[2] == text.partition(END)[2]
    assert f"{BEGIN}\n\nTABLE\n\n{END}" in new
    with pytest.raises(ValueError, match="expected <!-- reproduce: begin"):
        replaced("no markers", "TABLE")


def test_readmes_table_is_a_generated_one() -> None:
    inside = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert re.search(r"^Measured on \d{4}-\d\d-\d\d on \d+ cores:$", inside, re.MULTILINE)
