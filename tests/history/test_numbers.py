"""Numbers and dates of options that no range and no calendar holds: a usage error in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli, report_end
from harness.history.record import History
from tests.history.nightly_runs import measured, nightly_run

HUGE = "99999999999999999999"
ARGUMENTS = (
    ("history", "prune", "--keep-days", "nan"),
    ("history", "prune", "--keep-days", "inf"),
    ("history", "prune", "--keep-days", HUGE),
    ("history", "prune", "--keep-last", HUGE),
    ("history", "list", "--last", HUGE),
    ("trend", "--last", HUGE),
    ("trend", "--since", f"{HUGE}d"),
    ("trend", "--since", "1000000d"),
    ("trend", "--until", "9" * 5000 + "d"),
    ("history", "list", "--since", "0001-01-01T00:00+14:00"),
    ("history", "export", "--until", "9999-12-31T23:59-14:00"),
)


@pytest.mark.parametrize("words", ARGUMENTS, ids=lambda words: " ".join(words)[:50])
def test_numbers_and_dates_out_of_range_are_usage_errors(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "history.db"
    with History(str(place)) as history:
        history.add(nightly_run(1, measured(0.0)))
    error = CliRunner().invoke(cli, [*words, "--history", str(place)], standalone_mode=False).exception
    assert error is not None
    capsys.readouterr()
    assert report_end(error) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert words[-2] in printed
    assert "defect" not in printed


def test_the_largest_accepted_numbers_work(tmp_path: Path) -> None:
    place = tmp_path / "history.db"
    with History(str(place)) as history:
        history.add(nightly_run(1, measured(0.0)))
    for words in (
        ("history", "prune", "--keep-days", "1000000", "--keep-last", "1000000"),
        ("history", "list", "--last", "1000000", "--since", "0001-01-01", "--until", "9999-12-31"),
        ("trend", "--since", "36500d"),
    ):
        done = CliRunner().invoke(cli, [*words, "--history", str(place)], standalone_mode=False)
        assert done.exception is None, (words, done.exception)
