"""docs/claims.md is made from docs/claims.json, and has a row for every profile and claim that there is."""

from __future__ import annotations

import json
import re

import pytest

from harness.core.claims import Conclusion, needed
from harness.core.claims_record import ClaimsRecord, from_dict
from harness.reference.claims import CLAIMS
from harness.reference.profiles import PROFILES
from harness.reference.variations import VARIATIONS
from tools.claims import DATA, PAGE, page
from tools.readme_table import BEGIN, END, README, table


@pytest.fixture(scope="module")
def record() -> ClaimsRecord:
    return from_dict(json.loads(DATA.read_text()))


def test_the_page_is_generated_from_its_data(record: ClaimsRecord) -> None:
    assert PAGE.read_text() == page(record), "run: make readme-table"


def test_the_table_of_readme_is_generated_from_the_same_data(record: ClaimsRecord) -> None:
    inside = README.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    claims = {name: profile.claim for name, profile in PROFILES.items()}
    assert inside == table(record, claims), "run: make readme-table"


def test_every_claim_and_every_profile_has_its_row(record: ClaimsRecord) -> None:
    assert [(one.name, one.section, one.claim) for one in record.claims] == [
        (one.name, one.section, one.claim) for one in CLAIMS
    ], "run: make claims"
    tested = set(needed(record.claims))
    assert tested == set(PROFILES) | {one.profile.name for one in VARIATIONS}
    text = PAGE.read_text()
    for name in tested:
        assert re.search(rf"\b{re.escape(name)} × \d", text), (
            f"{name} has no row in docs/claims.md: make claims"
        )


def test_no_row_ends_as_inconclusive_and_every_gap_has_a_reason(record: ClaimsRecord) -> None:
    for row in record.rows():
        assert row.reason, row.claim.name
        if row.conclusion is Conclusion.NOT_SHOWN:
            assert row.claim.reason or "would" in row.reason or row.claim.by == "later", row.reason
        if row.conclusion is Conclusion.NOT_MEASURED:
            assert "repeats of" in row.reason


def test_measurements_are_as_expected_or_listed(record: ClaimsRecord) -> None:
    expected = {name: profile.expected for name, profile in PROFILES.items()}
    expected |= {one.profile.name: one.profile.expected for one in VARIATIONS}
    assert dict(record.expected) == expected, "run: make claims"
    text = PAGE.read_text()
    for line in record.unexpected_results():
        assert line.partition(":")[0] in text
