"""The figures of ``make figures`` are those of the code."""

from __future__ import annotations

from pathlib import Path

from tools.source_figures import Function, Module, measured, report

SOURCE = """# A comment of its own.
NAME = "# no comment"  # beside code, and not counted


class A:
    def f(self, a, *, b=1, **more):
        # Why.
        return a


async def g(x, /): ...
"""


def test_a_module_is_counted() -> None:
    assert measured("a.py", SOURCE) == Module("a.py", 11, 2, (Function("g", 1, 1), Function("f", 3, 3)))


def test_the_report_names_the_largest_of_what_ships_alone(tmp_path: Path) -> None:
    for name, text in {
        "harness/small.py": "x = 1\n",
        "harness/a/large.py": SOURCE,
        "harness/page.html": "<p>\n",
        "harness/picture.png": "",
        "tests/larger.py": SOURCE * 2,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert report(tmp_path).splitlines() == [
        "lines that ship: 13 (.py 12, .html 1)",
        "modules: 2; median 6 lines, largest 11 (harness/a/large.py), above 300: 0",
        "functions: 2; longest 3 lines (f in harness/a/large.py), most parameters 3 (f in harness/a/large.py)",
        "lines that are comments: 16.7 % of 12",
    ]
