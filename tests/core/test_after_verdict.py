"""A step that fails after the verdict adds a note."""

from __future__ import annotations

import pytest

from harness.core.after_verdict import attempt, failure
from harness.core.errors import Interrupted, StoreError
from harness.runtime.python_sites import line_growth
from harness.runtime.snapshot import Snapshot


def test_a_step_that_succeeds_leaves_no_note() -> None:
    notes: list[str] = []
    assert attempt("the report", lambda: 7, notes.append) == 7
    assert notes == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("a.py"), "the report failed: KeyError: 'a.py'; the verdict stands"),
        (RecursionError(), "the report failed: RecursionError; the verdict stands"),
        (StoreError("no\nspace"), "the report failed: no space; the verdict stands"),
    ],
)
def test_a_step_that_fails_leaves_one_line(error: Exception, text: str) -> None:
    def work() -> None:
        raise error

    notes: list[str] = []
    assert attempt("the report", work, notes.append) is None
    assert notes == [text] == [failure("the report", error)]


@pytest.mark.parametrize("passed", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_is_no_failure_of_a_step(passed: type[BaseException]) -> None:
    def work() -> None:
        raise passed

    with pytest.raises(passed):
        attempt("the report", work, [].append)
    assert issubclass(Interrupted, Exception)


def test_a_line_grows_in_blocks_while_each_of_its_tracebacks_shrinks_in_bytes() -> None:
    one, two = (("/app/a.py", 3), ("/app/m.py", 1)), (("/app/a.py", 3), ("/app/n.py", 2))
    before = Snapshot({one: (10, 9000), two: (10, 9000)})
    after = Snapshot({one: (110, 8000), two: (60, 8500)})
    (growth,) = line_growth(before, after, 100)
    assert growth.site == "/app/a.py:3"
    assert growth.per_connection == 1.5
    assert growth.frames
