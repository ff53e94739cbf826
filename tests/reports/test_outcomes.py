"""Every outcome in every form of report, and how CI shows it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from harness.core import quote
from harness.core.quote import workflow_data
from harness.core.record import About, ExitInfo, RunRecord, Trial
from harness.core.verdict import Finding, Outcome, Rate, Verdict
from harness.report import github, junit, markdown
from tests.core.series import trial

# outcome → the element of JUnit, the counter of its suite, the level of GitHub's annotation
SHOWN = {
    Outcome.CRASHED: ("failure", "failures", "error"),
    Outcome.LEAKING: ("failure", "failures", "error"),
    Outcome.STALLED: ("failure", "failures", "error"),
    Outcome.OVER_CEILING: ("failure", "failures", "error"),
    Outcome.UNREADY: ("failure", "failures", "error"),
    Outcome.INFRASTRUCTURE: ("error", "errors", "error"),
    Outcome.INCONCLUSIVE: ("skipped", "skipped", "warning"),
    Outcome.BOUNDED: (None, None, "notice"),
}
GREW = "2.00 eventfds per connection (95 %: 1.00–3.00)"
LOG = tuple(f"line {number}" for number in range(30))


def ended(outcome: Outcome, **more: object) -> Trial:
    """A trial with a verdict of this outcome, one finding, and a log."""
    finding = Finding(
        "fds", "eventfd", "leaking", "connection", Rate(2, 1, 3, "fds/connection"), "eventfd grows"
    )
    found = Verdict(
        outcome, "because of this", (finding,), warnings=("one stream failed",), advice="look there"
    )
    one = replace(
        trial([10.0]), name="one", verdict=found, exit=ExitInfo(-6, 4.0, 12, LOG), started=1.5, ended=4.0
    )
    return replace(one, **more)  # type: ignore[arg-type]


def record(*trials: Trial) -> RunRecord:
    return RunRecord("id", "harness guard", "2026-01-01T00:00:00+00:00", 0, trials)


def test_every_outcome_has_its_row() -> None:
    assert set(SHOWN) == set(Outcome)


@pytest.mark.parametrize("outcome", Outcome)
def test_junit_shows_the_outcome(outcome: Outcome) -> None:
    element, counter, _ = SHOWN[outcome]
    suite = ET.fromstring(junit.render(record(ended(outcome))))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "1", **{name: str(int(name == counter)) for name in ("failures", "errors", "skipped")},
    }  # fmt: skip
    (case,) = suite
    assert (case.tag, case.get("name"), case.get("time")) == ("testcase", "one", "2.500")
    assert [child.tag for child in case] == ([element, "system-err"] if element else [])
    if element:
        assert case[0].get("type") == outcome.value
        headline = GREW if outcome is Outcome.LEAKING else "because of this"
        assert case[0].get("message") == f"{outcome.value.upper()}  {headline}"
        assert GREW in (case[0].text or "")
        assert (case[1].text or "").splitlines() == list(LOG[-20:])


@pytest.mark.parametrize("outcome", Outcome)
def test_junit_without_a_log_has_no_log(outcome: Outcome) -> None:
    (case,) = ET.fromstring(junit.render(record(ended(outcome, exit=None))))
    assert [child.tag for child in case] == ([SHOWN[outcome][0]] if SHOWN[outcome][0] else [])


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("confirmed", [True, False])
def test_a_profile_fails_only_where_its_outcome_is_another_than_expected(
    outcome: Outcome, confirmed: bool
) -> None:
    suite = ET.fromstring(junit.render(record(ended(outcome, about=About(confirmed=confirmed)))))
    assert [child.tag for child in suite[0]] == ([] if confirmed else ["failure", "system-err"])
    assert [suite.get(name) for name in ("failures", "errors", "skipped")] == [
        str(int(not confirmed)),
        "0",
        "0",
    ]


def test_junit_counts_every_trial_and_leaves_out_what_was_not_judged() -> None:
    one = record(*map(ended, Outcome), ended(Outcome.LEAKING), replace(trial([10.0]), name="not judged"))
    suite = ET.fromstring(junit.render(one))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9", "failures": "6", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert "not judged" not in junit.render(one)
    assert [*github.workflow_commands(record(replace(trial([10.0]), name="x")))] == []


@pytest.mark.parametrize("outcome", Outcome)
def test_github_shows_the_outcome(outcome: Outcome) -> None:
    (line,) = github.workflow_commands(record(ended(outcome)))
    level = SHOWN[outcome][2]
    headline = workflow_data(GREW) if outcome is Outcome.LEAKING else "because of this"
    assert line.startswith(
        f"::{level} title=harness%3A one%3A {outcome.value}::{outcome.value.upper()}  {headline}%0A"
    )
    assert "%0A  warning   one stream failed" in line


@pytest.mark.parametrize(
    ("text", "data", "title"),
    [
        ("100% of 4", "100%25 of 4", "100%25 of 4"),
        ("%0A::error::", "%250A::error::", "%250A%3A%3Aerror%3A%3A"),
        ("a:b,c", "a:b,c", "a%3Ab%2Cc"),
    ],
)
def test_github_escapes_what_its_runner_would_decode(text: str, data: str, title: str) -> None:
    judged = ended(Outcome.LEAKING, name=text, verdict=Verdict(Outcome.LEAKING, text))
    (line,) = github.workflow_commands(record(judged))
    assert f"title=harness%3A {title}%3A leaking::LEAKING  {data}%0A" in line


def test_github_cuts_a_long_annotation() -> None:
    long = ended(Outcome.LEAKING, verdict=Verdict(Outcome.LEAKING, "x" * 10_000))
    (line,) = github.workflow_commands(record(long))
    assert len(line.partition(" title=")[2].partition("::")[2]) == github.MAX_ANNOTATION == 4000
    assert line.endswith("x…")


@pytest.mark.parametrize("odd", range(3))
def test_a_cut_annotation_ends_with_a_whole_escape(odd: int) -> None:
    text = "x" * odd + "%" * 5_000  # each becomes %25
    (line,) = github.workflow_commands(record(ended(Outcome.LEAKING, verdict=Verdict(Outcome.LEAKING, text))))
    assert line.endswith("%25…")


@pytest.mark.parametrize("outcome", Outcome)
def test_markdown_shows_the_outcome(outcome: Outcome) -> None:
    text = markdown.render(record(ended(outcome)))
    lines = text.splitlines()
    (row,) = [line for line in lines if line.startswith("| one |")]
    assert row.split(" | ")[1] == outcome.value
    assert f"## one: {outcome.value}" in lines
    headline = GREW if outcome is Outcome.LEAKING else "because of this"
    assert f"**{quote.markdown(headline)}**" in lines
    assert (GREW.split(" (")[0] in text) is (outcome is not Outcome.BOUNDED)
    assert "- warning: one stream failed" in lines
    assert ("- log: line 29" in lines) is (outcome is not Outcome.BOUNDED)


@pytest.mark.parametrize(("confirmed", "cell"), [(True, "yes: why"), (False, "no: why"), (None, "–: why")])
def test_markdown_shows_whether_a_profile_was_confirmed(confirmed: bool | None, cell: str) -> None:
    text = markdown.render(record(ended(Outcome.CRASHED, about=About(confirmed=confirmed, note="why"))))
    (row,) = [line for line in text.splitlines() if line.startswith("| one |")]
    assert row.endswith(f"| {cell} |")


def test_a_step_summary_is_cut_at_the_limit_of_github() -> None:
    short = record(ended(Outcome.BOUNDED))
    assert github.summary(short) == markdown.render(short)
    long = record(*[ended(Outcome.BOUNDED, verdict=Verdict(Outcome.BOUNDED, "é" * 3900))] * 150)
    assert len(markdown.render(long).encode()) > 1 << 20
    text = github.summary(long)
    assert (1 << 20) - 200 < len(text.encode()) <= 1 << 20
    assert text.endswith("\n\n(cut)\n")
