"""The core decides on many inputs as it did before, to six digits.

These values are not known to be right: tests of single rules are for that. A change here shows that a rule decides
differently somewhere. If that is intended, ``python -m tests.core.pinned_scenarios`` writes the file again.
"""

from __future__ import annotations

import json
from functools import cache

import pytest

from tests.core.pinned_scenarios import PINNED, Scenario, digest, scenarios

pytestmark = [pytest.mark.soak, pytest.mark.pinned]  # a rule that is changed on purpose changes these
EXPECTED: dict[str, str] = json.loads(PINNED.read_text())


@cache
def found() -> dict[str, Scenario]:
    return dict(scenarios())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_decision_is_as_before(name: str) -> None:
    assert digest(found()[name]()) == EXPECTED[name], (
        f"compare python -m tests.core.pinned_scenarios '{name}' with that of the commit before"
    )


def test_every_scenario_is_pinned() -> None:
    assert set(found()) == set(EXPECTED)
