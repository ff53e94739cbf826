"""The figures of every form of report on many trials are what they were before; their wording is not compared.

These values are not known to be right: tests of single forms are for that. If a change is intended, ``python -m
tests.reports.pinned_reports`` writes the file again.
"""

from __future__ import annotations

import json
from functools import cache

import pytest

from tests.core.pinned_scenarios import Scenario, digest
from tests.reports.pinned_reports import PINNED, scenarios

pytestmark = [pytest.mark.soak, pytest.mark.pinned]
EXPECTED: dict[str, str] = json.loads(PINNED.read_text())


@cache
def found() -> dict[str, Scenario]:
    return dict(scenarios())


@pytest.mark.parametrize("name", EXPECTED)
def test_the_figures_are_as_before(name: str) -> None:
    assert digest(found()[name]()) == EXPECTED[name], (
        f"compare python -m tests.reports.pinned_reports '{name}' with that of the commit before"
    )


def test_every_report_is_pinned() -> None:
    assert set(found()) == set(EXPECTED)
