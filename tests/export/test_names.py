"""The names are an interface: the page that documents them has every one, with its labels, and no other."""

from __future__ import annotations

from pathlib import Path

from harness.core.figures import FIGURES

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def test_the_page_lists_every_name_with_its_labels_and_no_other() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `harness_")]
    expected = [
        f"| `{one.prometheus}` | {', '.join(f'`{label}`' for label in one.labels)} | {one.text} |"
        for one in FIGURES.values()
    ]
    assert rows == expected
