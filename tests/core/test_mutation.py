"""The tool behind ``make mutation``: which mutants it makes, and what it says of them."""

from __future__ import annotations

import json

import pytest

from tests.mutation import document
from tests.mutation.__main__ import ROOT, modules
from tests.mutation.mutants import mutants, sample
from tests.mutation.selection import package_of

SOURCE = '''"""A module."""
from dataclasses import dataclass
LIMIT = 5
@dataclass(frozen=True)
class One:
    value: int | None = 3
def over(level: int | None) -> bool:
    """A text."""
    assert level != 7
    return level > LIMIT and not level == 9
'''


def test_constants_comparisons_and_logic_are_mutated_and_annotations_are_not() -> None:
    found = list(mutants(SOURCE))
    changes = {(one.line, one.after) for one in found}
    for expected in (
        (3, "LIMIT = 6"),
        (6, "value: int | None = 4"),
        (10, "return level >= LIMIT and not level == 9"),
        (10, "return level > LIMIT or not level == 9"),
        (10, "return level > LIMIT and level == 9"),
        (10, "return level > LIMIT and not level == 10"),
    ):
        assert expected in changes
    assert not {line for line, _ in changes} & {1, 2, 4, 7, 8, 9}
    assert len({one.source for one in found}) == len(found)
    assert all(one.source != SOURCE for one in found)


def test_a_sample_is_the_same_for_the_same_seed_and_in_order() -> None:
    found = list(mutants(SOURCE))
    chosen = sample(found, 4, "a")
    assert len(chosen) == 4
    assert chosen == sample(found, 4, "a")
    assert [one.line for one in chosen] == sorted(one.line for one in chosen)
    assert sample(found, len(found), "a") == found


def figures(tried: int, killed: int) -> dict[str, object]:
    left = [{"line": 3, "change": "a → b"}] * (tried - killed)
    return {"mutants": 100, "tried": tried, "killed": killed, "survivors": left, "seconds": 1.0}


@pytest.mark.parametrize(
    ("path", "killed", "below"),
    [
        ("harness/core/units.py", 85, []),
        ("harness/core/units.py", 84, ["harness/core"]),
        ("harness/probe/tree.py", 75, []),
        ("fake_broker/chain.py", 74, ["fake_broker"]),
    ],
)
def test_a_package_has_its_goal(path: str, killed: int, below: list[str]) -> None:
    lines, found = document.summary({path: figures(100, killed)})
    assert found == below
    assert f"{killed} % of 100 mutants noticed" in lines[0]


def test_the_page_lists_every_survivor() -> None:
    text = document.page({"fake_broker/chain.py": figures(4, 2), "harness/core/units.py": figures(2, 2)})
    assert text.count("- line 3: `a → b`: no test distinguishes it yet") == 2
    assert "| `fake_broker` | 1 | 100 | 4 | 2 | 50 % | 75 % |" in text
    assert "units.py" not in text.partition("## Survivors")[2]


def test_the_page_is_made_of_the_kept_figures() -> None:
    scores = json.loads((ROOT / document.SCORES).read_text())
    assert (ROOT / "docs" / "mutation.md").read_text() == document.page(scores)


def test_only_modules_of_the_packages_can_be_mutated() -> None:
    assert modules(["fake_broker/chain.py"]) == ["fake_broker/chain.py"]
    assert {package_of(path) for path in modules([])} == set(document.GOALS)
    for wrong in ("harness/cli", "nowhere.py"):
        with pytest.raises(ValueError, match="expected a module"):
            modules([wrong])
