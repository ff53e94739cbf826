"""Long files come first, whatever order pytest-randomly made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.longest_first import SECONDS, TESTS, pytest_collection_modifyitems


def item(name: str, number: int = 0) -> Any:
    return SimpleNamespace(path=TESTS / name, number=number)


def test_long_files_come_first_and_the_core_last() -> None:
    longest, *_ = SECONDS
    items = [
        item("core/test_a.py"),
        item("edges/test_new.py"),
        item(longest),
        SimpleNamespace(path=Path("/x/y.py")),
    ]
    pytest_collection_modifyitems(items)
    assert [each.path.name for each in items] == [Path(longest).name, "test_new.py", "test_a.py", "y.py"]


def test_the_order_within_a_file_stays() -> None:
    items = [item("edges/test_new.py", number) for number in (3, 1, 2)]
    pytest_collection_modifyitems(items)
    assert [each.number for each in items] == [3, 1, 2]


def test_most_files_of_the_list_exist() -> None:
    there = [name for name in SECONDS if (TESTS / name).exists()]
    assert len(there) >= 0.75 * len(SECONDS), "measure again: pytest --durations=400"
