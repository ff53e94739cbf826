"""The tool behind ``make mutation``: which mutants it makes, which tests it runs on them, and what it reports."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.mutation import document
from tests.mutation.__main__ import ROOT, modules
from tests.mutation.runner import Runner
from tests.mutation.selection import LONGEST, MOST, PINNED, TESTS, durations, package_of, ranked

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


@pytest.fixture(scope="module")
def operators() -> Any:
    """``tests.mutation.mutants``, imported by the one worker that has these tests: libcst takes half a second."""
    return importlib.import_module("tests.mutation.mutants")


def test_this_file_is_collected_without_libcst() -> None:
    code = "import sys, tests.mutation.test_mutation; print('libcst' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_constants_comparisons_and_logic_are_mutated_and_annotations_are_not(operators: Any) -> None:
    found = list(operators.mutants(SOURCE))
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


def test_strings_that_are_sentences_are_not_mutated_and_single_words_are(operators: Any) -> None:
    found = {one.after for one in operators.mutants("a = f('a sentence', 'word', 3)\nT = TypeVar('T')\n")}
    assert "a = f('a sentence', None, 3)" in found
    assert "a = f('a sentence', 'word', None)" in found
    assert not any("None, 'word', 3" in after or "TypeVar(" in after for after in found)
    assert "a = f('word', 3)" not in found


def test_a_sample_is_the_same_for_the_same_seed_and_in_order(operators: Any) -> None:
    sources = {"b.py": SOURCE, "a.py": SOURCE.replace("LIMIT = 5", "LIMIT = 50")}
    chosen, exist = operators.sample(sources, 4, 1)
    assert len(chosen) == 4
    assert chosen == operators.sample(sources, 4, 1)[0]
    places = [(path, mutant.line) for path, mutant in chosen]
    assert places == sorted(places)
    every, _ = operators.sample(sources, 1000, 1)
    assert len(every) == 2 * len(list(operators.mutants(SOURCE))) <= exist
    assert {mutant.source for _, mutant in chosen} <= {mutant.source for _, mutant in every}


def test_a_module_with_more_mutants_is_drawn_more_often(operators: Any) -> None:
    sources = {"large.py": SOURCE * 9, "small.py": "LIMIT = 5\n"}
    drawn = Counter(path for seed in range(8) for path, _ in operators.sample(sources, 2, seed)[0])
    assert drawn["large.py"] > 12
    assert sum(drawn.values()) == 16


def figures(tried: int, killed: int) -> dict[str, object]:
    left = [{"path": "fake_broker/chain.py", "line": 3, "change": "a → b"}] * (tried - killed)
    return {"mutants": 100, "tried": tried, "killed": killed, "seed": 7, "survivors": left, "seconds": 1.0}


@pytest.mark.parametrize(
    ("package", "killed", "below"),
    [
        ("harness/core", 85, []),
        ("harness/core", 84, ["harness/core"]),
        ("harness/probe", 75, []),
        ("fake_broker", 74, ["fake_broker"]),
    ],
)
def test_a_package_has_its_goal(package: str, killed: int, below: list[str]) -> None:
    lines, found = document.summary({package: figures(100, killed)})
    assert found == below
    assert f"{killed} %" in lines[0]
    assert "of 100 mutants noticed" in lines[0]


@pytest.mark.parametrize(
    ("killed", "tried", "low", "high"),
    # Wilson's interval, from Brown, Cai and DasGupta, Statistical Science 16 (2001), and by hand.
    [(0, 10, 0.0, 27.75), (10, 10, 72.25, 100.0), (50, 100, 40.38, 59.62), (102, 120, 77.53, 90.30), (0, 0, 0, 100)],
)  # fmt: skip
def test_the_interval_of_a_sample_is_wilsons(killed: int, tried: int, low: float, high: float) -> None:
    assert document.interval(killed, tried) == pytest.approx((low, high), abs=0.01)


def test_the_page_lists_every_survivor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "reasons", dict)
    text = document.page({"fake_broker": figures(4, 2), "harness/core": figures(2, 2)})
    assert text.count(f"- line 3: `a → b`: {document.NO_REASON}") == 2
    assert "| `fake_broker` | 100 | 4 | 7 | 2 | 50 % | 15–85 % | 50 % of 4 (seed 7) | 75 % |" in text
    monkeypatch.setattr(document, "reasons", lambda: {"fake_broker/chain.py": {"a → b": "equivalent"}})
    assert document.page({"fake_broker": figures(4, 2)}).count("- line 3: `a → b`: equivalent") == 2


def test_the_first_measurement_of_a_package_is_kept_beside_later_ones() -> None:
    first = document.kept({}, "fake_broker", figures(4, 2))
    later = document.kept({"fake_broker": first}, "fake_broker", {**figures(10, 9), "seed": 8})
    assert (later["killed"], later["first"]) == (9, {"tried": 4, "killed": 2, "seed": 7})
    assert "| 90 % | 60–98 % | 50 % of 4 (seed 7) | 75 % |" in document.page({"fake_broker": later})


def test_the_page_is_made_of_the_kept_figures() -> None:
    scores = json.loads((ROOT / document.SCORES).read_text())
    assert set(scores) <= set(TESTS)
    assert (ROOT / "docs" / "mutation.md").read_text() == document.page(scores)


def test_a_reason_belongs_to_a_module_of_the_packages() -> None:
    for path, changes in document.reasons().items():
        assert package_of(path)
        removed = {why == "the module was removed since this sample" for why in changes.values()}
        assert removed == {not (ROOT / path).exists()}, path
        assert all(" → " in change and why for change, why in changes.items())


def test_only_modules_of_the_packages_can_be_mutated() -> None:
    assert modules(["fake_broker/chain.py"]) == ["fake_broker/chain.py"]
    assert {package_of(path) for path in modules([])} == set(document.GOALS)
    for wrong in ("harness/cli", "nowhere.py"):
        with pytest.raises(ValueError, match="expected a module"):
            modules([wrong])


def test_the_time_of_a_test_is_that_of_all_its_cases() -> None:
    report = ElementTree.fromstring(
        '<testsuites><testsuite><testcase file="tests/core/test_a.py" classname="tests.core.test_a" '
        'name="test_one[1]" time="0.5"/><testcase file="tests/core/test_a.py" classname="tests.core.test_a" '
        'name="test_one[2]" time="0.25"/><testcase file="tests/core/test_a.py" classname="tests.core.test_a.TestB" '
        'name="test_two" time="1"><failure/></testcase></testsuite></testsuites>'
    )
    seconds, broken = durations(report)
    assert seconds == {"tests/core/test_a.py::test_one": 0.75, "tests/core/test_a.py::TestB::test_two": 1.0}
    assert broken == ["tests/core/test_a.py::TestB::test_two"]


@pytest.mark.slow
def test_mutants_run_in_forks_that_share_no_state(tmp_path: Path) -> None:
    module, test = tmp_path / "counted.py", tmp_path / "test_counted.py"
    test.write_text("import counted\n\n\ndef test_it():\n    assert counted.LIMIT == 5\n")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir", str(tmp_path), str(test)]
    with Runner(ROOT, {**os.environ, "PYTHONPATH": str(ROOT)}) as runner:
        found = []
        # No two that follow each other have one size: Python would take the bytecode of the former, of the same second.
        for text in ("LIMIT = 5\n", "LIMIT = 60\n", "import time\ntime.sleep(600)\n", "LIMIT = 5\n"):
            module.write_text(text)
            found.append(runner.run(options, 60.0 if "sleep" not in text else 2.0))
    assert found == [0, 1, None, 0]


def test_the_pinned_decisions_are_tried_before_the_fast_tests_and_never_left_out() -> None:
    """They decide on everything, and a limit of tests, or of their time under coverage, once kept them from all but the
    rarest lines."""
    own, pinned = "tests/core/test_judge.py::test_it", f"tests/core{PINNED}"
    others = [f"tests/core/test_other.py::test_{number:03}" for number in range(MOST + 9)]
    seconds = {own: 5.0, **dict.fromkeys(others, 0.01)}
    assert ranked([*others, pinned, own], seconds, "judge") == [own, pinned, *others[: MOST - 2]]
    assert ranked([*others, pinned, own], seconds | {own: LONGEST}, "judge") == [own, pinned]
    assert ranked([others[0]], {others[0]: 2 * LONGEST}, "judge") == [others[0]], "one test is always tried"
