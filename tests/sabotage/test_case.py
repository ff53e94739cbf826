"""The table's own checks can fail: each possible error of a verdict is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.verdict import Crash, Finding, Outcome, Rate, Verdict
from tests.sabotage import __main__ as table
from tests.sabotage.case import Advised, Case, Green, Leak, Leaks, Red, Required, Result
from tests.sabotage.document import BEGIN, END, keep, kept, row, write

FOUND = Finding("fds", "tcp-out:9797", "leaking", "abort", Rate(1.02, 0.99, 1.05, "fds/abort"), "one stays")
LEAKING = Verdict(Outcome.LEAKING, "one stays", (FOUND,))
EXPECTED = Leak("fds", "tcp-out", "abort")


def test_an_expected_verdict_is_not_wrong() -> None:
    assert EXPECTED.mismatches(LEAKING) == []
    assert Green().mismatches(Verdict(Outcome.BOUNDED, "")) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(FOUND, driver="connection"), "driver connection, expected abort"),
        (replace(FOUND, rate=Rate(0.8, 0.7, 0.9, "fds/abort")), "rate 0.8, expected 1"),
        (replace(FOUND, rate=None), "rate None, expected 1"),
        (replace(FOUND, kind="eventfd"), "saw fds/eventfd"),
        (replace(FOUND, metric="threads", kind=""), "saw threads/"),
    ],
)
def test_a_wrong_finding_is_reported(found: Finding, words: str) -> None:
    [text] = EXPECTED.mismatches(Verdict(Outcome.LEAKING, "", (found,)))
    assert words in text


def test_a_rate_per_hour_is_compared_by_the_second() -> None:
    hourly = replace(FOUND, driver="time", rate=Rate(36_000.0, 34_000.0, 38_000.0, "fds/hour"))
    expected = Leak("fds", "tcp-out", "time", 10.0)
    assert expected.mismatches(replace(LEAKING, findings=(hourly,))) == []
    assert replace(expected, rate=20.0).mismatches(replace(LEAKING, findings=(hourly,)))


def test_an_unexpected_finding_is_reported() -> None:
    more = replace(FOUND, metric="threads", kind="")
    assert EXPECTED.mismatches(Verdict(Outcome.LEAKING, "", (FOUND, more))) == [
        "also found threads, which is not there"
    ]


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.LEAKING])
def test_a_leak_needs_its_outcome(outcome: Outcome) -> None:
    assert outcome.value in EXPECTED.mismatches(replace(LEAKING, outcome=outcome))[0]


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.BOUNDED])
def test_a_benign_service_needs_its_outcome(outcome: Outcome) -> None:
    assert outcome.value in Green().mismatches(Verdict(outcome, ""))[0]


def test_a_crash_needs_its_signature_and_what_had_grown() -> None:
    expected = Red(Outcome.CRASHED, ("emfile",), "fds/eventfd")
    crash = Crash(2, None, "emfile", "", 1.0, 10, {"fds/eventfd": 40.0})
    assert expected.mismatches(Verdict(Outcome.CRASHED, "", crash=crash)) == []
    assert expected.mismatches(Verdict(Outcome.CRASHED, "", crash=replace(crash, signature="python-abort")))
    assert expected.mismatches(Verdict(Outcome.CRASHED, "", crash=replace(crash, grown={})))
    assert expected.mismatches(Verdict(Outcome.CRASHED, ""))
    assert expected.mismatches(LEAKING)


def test_each_of_two_leaks_is_needed_with_its_driver() -> None:
    over_time = replace(FOUND, kind="eventfd", driver="time", rate=Rate(1.0, 0.9, 1.1, "fds/second"))
    expected = Leaks((EXPECTED, Leak("fds", "eventfd", "time")))
    assert expected.mismatches(replace(LEAKING, findings=(FOUND, over_time))) == []
    [text] = expected.mismatches(LEAKING)
    assert "expected fds/eventfd" in text
    swapped = replace(over_time, driver="abort")
    assert expected.mismatches(replace(LEAKING, findings=(FOUND, swapped)))


def test_a_consequence_listed_before_its_cause_is_reported() -> None:
    symptom = replace(FOUND, metric="idle-cpu", kind="")
    expected = replace(EXPECTED, beside=("idle-cpu",), first=True)
    assert expected.mismatches(replace(LEAKING, findings=(FOUND, symptom))) == []
    assert expected.mismatches(replace(LEAKING, findings=(symptom, FOUND))) == ["idle-cpu/ comes before it"]


def test_words_and_scope_are_needed() -> None:
    assert replace(EXPECTED, text=("one stays",)).mismatches(LEAKING) == []
    assert "'status 500'" in replace(EXPECTED, text=("status 500",)).mismatches(LEAKING)[0]
    assert "while-connected" in replace(EXPECTED, scope="while-connected").mismatches(LEAKING)[0]


def test_an_undecided_verdict_needs_the_option_that_decides() -> None:
    expected = Advised("--settle")
    assert expected.mismatches(Verdict(Outcome.BOUNDED, "")) == []
    assert expected.mismatches(Verdict(Outcome.INCONCLUSIVE, "", advice="give --settle 61")) == []
    assert expected.mismatches(Verdict(Outcome.INCONCLUSIVE, "", advice="wait"))
    assert expected.mismatches(LEAKING)


def test_growth_that_a_required_bound_excludes_is_no_pass() -> None:
    expected = Required("time", "--max-time")
    assert expected.mismatches(Verdict(Outcome.BOUNDED, ""))
    assert expected.mismatches(Verdict(Outcome.INCONCLUSIVE, "", advice="give --max-time 5m")) == []
    assert expected.mismatches(Verdict(Outcome.INCONCLUSIVE, "", advice="wait"))
    assert "expected time" in expected.mismatches(LEAKING)[0]
    assert replace(expected, driver="abort").mismatches(LEAKING) == []


def test_the_document_counts_what_was_wrong(tmp_path: Path) -> None:
    document = tmp_path / "sabotage.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    case = Case("go", "file@connection", EXPECTED)
    good = Result(case, LEAKING, 12.3, 900, (), tmp_path)
    bad = replace(good, seconds=20.0, wrong=("rate 0.8, expected 1",))
    for one in (good, bad):
        keep(tmp_path / "rows", row(one))
    write(document, kept(tmp_path / "rows"))
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "2 runs of 1 services, 1 wrong verdicts" in text
    assert "| `go-file@connection` | 1 fds/tcp-out per abort | 1 of 2 | 12–20 | 900 |" in text
    assert "**wrong**: rate 0.8, expected 1" in text
    (tmp_path / "other").write_text("no markers")
    with pytest.raises(ValueError, match="expected the lines"):
        write(tmp_path / "other", [row(good)])


def test_a_row_that_fails_counts_as_wrong_and_the_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a guard raises, or the building of its service."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError(("a.py", 3, ""))

    monkeypatch.setattr("tests.sabotage.case.guard_once", fail)
    monkeypatch.setattr("tests.sabotage.case.go_binary", fail)
    names = ["asyncio-healthy", "go-healthy", "node-healthy"]
    assert table.main([*names, "--keep", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.count("WRONG") == 3
    assert "the guard raised KeyError" in out
    assert "3 runs, 3 wrong" in out
