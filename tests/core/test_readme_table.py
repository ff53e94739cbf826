"""The table of README.md is made from a run of all claims, and dated."""

from __future__ import annotations

import re

import pytest

from harness.core.claims import Claim
from harness.core.claims_record import ClaimsRecord
from harness.core.measurement import Growth, Measurement
from tools.readme_table import BEGIN, END, README, replaced, table

CRASH = Measurement(
    "crashed",
    True,
    "",
    8.0,
    48,
    300,
    90,
    (Growth("eventfd", 1.0, "check"),),
    "emfile, exit code 2",
    ("emfile",),
)
LATER = "the interval contains 1, more repeats would narrow it; "


def record() -> ClaimsRecord:
    return ClaimsRecord(
        run_id="run",
        started_at="2026-11-29T03:00:00+00:00",
        machine={"cores": 2},
        harness_version="0.1.0",
        claims=(
            Claim("original", "Technical Root Cause 1", "sockets pile up", "crashes", (("original", 5),)),
            Claim(
                "solution-2-later",
                "Solution 2",
                "crashed less often than Solution 1",
                "later",
                (("solution-2", 5), ("solution-1", 5)),
            ),
        ),
        tests={},
        expected={},
        measured=dict.fromkeys(("original", "solution-1", "solution-2"), (CRASH,) * 5),
    )


def test_the_table_has_a_date_and_a_row_for_each_profile() -> None:
    lines = table(record(), {"original": "sockets | pile up"}).splitlines()
    assert lines[0] == "Measured on 2026-11-29 on 2 cores, median and range of the repeats:"
    assert lines[4] == (
        "| original | crashed in 5 of 5 | 8.0 s | 48 | +1 eventfd (1 to 1) per check | emfile, exit code 2 "
        "| sockets \\| pile up |"
    )
    assert [line.split(" | ")[0] for line in lines[4:10]] == [
        f"| {name}" for name in ("original", "upstream", "solution-1", "solution-2", "solution-3", "fixed")
    ]
    assert lines[5].startswith("| upstream | not measured yet | ")
    assert lines[-1].startswith(
        "The claim “Solution 2 crashed less often than Solution 1” (Solution 2): cannot be shown here; "
    )
    assert LATER in lines[-1], "the ratio, which decides, comes before the shares of crashes"


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
    assert re.search(r"^Measured on \d{4}-\d\d-\d\d on \d+ cores.*:$", inside, re.MULTILINE)
