"""A claim is confirmed, refuted or left open by its measurements alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.claims import Claim, Conclusion, Measured, conclude, needed, order, share_interval
from harness.core.claims_record import ClaimsRecord, from_dict, to_dict
from harness.core.errors import ConfigError
from harness.core.measurement import Growth, Measurement
from harness.report.claims import growth, render_html, render_markdown, time_to_failure

GOOD = Measurement("bounded", True, "9 events arrived", 20.0, 80, 400, 200)
CRASH = Measurement(
    "crashed",
    True,
    "no event ever arrived",
    4.0,
    16,
    64,
    0,
    (Growth("eventfd", 1.0, "check"),),
    "zeromq-assertion, SIGABRT",
    ("zeromq-assertion",),
)


def claim(by: str, value: str = "", need: int = 5, *others: str) -> Claim:
    return Claim("row", "Section 1", "it is so", by, tuple((name, need) for name in ("a", *others)), value)


def crashes(*seconds: float) -> tuple[Measurement, ...]:
    return tuple(replace(CRASH, seconds=at) for at in seconds)


@pytest.mark.parametrize(
    ("by", "value", "found", "conclusion", "words"),
    [
        ("crashes", "", (CRASH,) * 5, Conclusion.CONFIRMED, "crashed in 5 of 5 (95 %: 48% to 100%)"),
        ("crashes", "", (GOOD,) * 5, Conclusion.REFUTED, "crashed in 0 of 5"),
        ("crashes", "", (GOOD, CRASH, GOOD, GOOD, GOOD), Conclusion.CONFIRMED, "crashed in 1 of 5"),
        ("prevents", "", (GOOD,) * 5, Conclusion.CONFIRMED, "crashed in none of 5 (95 %: 0% to 52%)"),
        ("prevents", "", (GOOD, CRASH, GOOD, GOOD, GOOD), Conclusion.REFUTED, "crashed in 1 of 5"),
        (
            "prevents",
            "",
            (replace(GOOD, outcome="leaking"),) * 5,
            Conclusion.CONFIRMED,
            "; but leaking in 5 of 5",
        ),
        ("as-described", "", (GOOD,) * 5, Conclusion.CONFIRMED, "5 of 5 as described: 9 events arrived"),
        (
            "as-described",
            "",
            (*(GOOD,) * 4, replace(GOOD, expected=False, note="expected bounded, saw leaking")),
            Conclusion.REFUTED,
            "4 of 5 as described; otherwise expected bounded, saw leaking",
        ),
        ("outcome", "bounded", (GOOD,) * 5, Conclusion.CONFIRMED, "bounded in 5 of 5"),
        ("outcome", "leaking", (GOOD,) * 5, Conclusion.REFUTED, "bounded in 5 of 5"),
        ("recognised", "zeromq-assertion", (CRASH,) * 5, Conclusion.CONFIRMED, "found in 5 of 5 logs"),
        ("recognised", "zeromq-assertion", (*(CRASH,) * 4, GOOD), Conclusion.REFUTED, "found in 4 of 5 logs"),
        ("within", "25 40", crashes(31, 32, 31, 33, 30), Conclusion.CONFIRMED, "median 31.0 s"),
        ("within", "25 40", crashes(31, 32, 31, 33, 41), Conclusion.REFUTED, "4 of 5 crashed 25 to 40 s"),
        ("none", "", (GOOD,) * 5, Conclusion.NOT_SHOWN, ""),
    ],
)
def test_a_rule_decides_by_what_was_measured(
    by: str, value: str, found: tuple[Measurement, ...], conclusion: Conclusion, words: str
) -> None:
    row = conclude(claim(by, value), {"a": found})
    assert row.conclusion is conclusion, row.reason
    assert words in row.reason


@pytest.mark.parametrize(
    ("first", "second", "need", "conclusion", "words"),
    [
        (
            (8, 9, 8, 9, 8),
            (4, 5, 4, 5, 4),
            5,
            Conclusion.CONFIRMED,
            "a took 2.00 times as long to crash as b",
        ),
        ((4, 5, 4, 5, 4), (8, 9, 8, 9, 8), 5, Conclusion.REFUTED, "it crashed sooner"),
        ((4, 5, 4, 5, 4), (4, 5, 4, 5, 4), 5, Conclusion.NOT_SHOWN, "the interval contains 1"),
        ((4, 5) * 10, (4, 5) * 10, 20, Conclusion.REFUTED, "no difference over 20 repeats"),
    ],
)
def test_later_compares_the_times_of_two_trials(
    first: tuple[float, ...], second: tuple[float, ...], need: int, conclusion: Conclusion, words: str
) -> None:
    measured: Measured = {"a": crashes(*first), "b": crashes(*second)}
    row = conclude(claim("later", "", need, "b"), measured)
    assert row.conclusion is conclusion, row.reason
    ratio, *shares = row.reason.split("; ")
    assert words in ratio
    assert [share.partition(" in ")[0] for share in shares] == ["a crashed", "b crashed"]


def test_a_trial_that_never_crashed_is_less_frequent_than_one_that_did() -> None:
    row = conclude(claim("later", "", 5, "b"), {"a": (GOOD,) * 5, "b": (CRASH,) * 5})
    assert row.conclusion is Conclusion.CONFIRMED
    assert "a crashed in 0 of 5" in row.reason


@pytest.mark.parametrize(
    ("factor", "conclusion"),
    [(1.0, Conclusion.CONFIRMED), (1.05, Conclusion.CONFIRMED), (1.2, Conclusion.REFUTED)],
)
def test_checks_are_proportional_to_the_product_or_are_not(factor: float, conclusion: Conclusion) -> None:
    pace = tuple((clients, factor * clients * 4 / 0.5) for clients in (1, 2, 4, 8))
    row = conclude(claim("proportional", "4 0.5", 1), {"a": (replace(GOOD, pace=pace),)})
    assert row.conclusion is conclusion, row.reason
    assert f"{factor:.3f} × the product" in row.reason
    assert "1 to 8 clients" in row.reason


def test_no_row_ends_as_inconclusive() -> None:
    doubtful = replace(GOOD, outcome="inconclusive", expected=False, advice="run more cycles")
    row = conclude(claim("as-described"), {"a": (*(GOOD,) * 4, doubtful)})
    assert row.conclusion is Conclusion.NOT_SHOWN
    assert row.reason == "1 of 5 repeats reached no verdict; it would take: run more cycles"


def test_missing_repeats_are_named_with_their_reason() -> None:
    nothing = conclude(claim("crashes"), {}, "the time was used up")
    assert nothing.conclusion is Conclusion.NOT_MEASURED
    assert nothing.reason == "0 of 5 repeats of a: the time was used up"
    some = conclude(claim("crashes"), {"a": (CRASH,) * 2}, "the time was used up")
    assert some.conclusion is Conclusion.CONFIRMED
    assert some.reason.endswith("; only 2 of 5 repeats of a: the time was used up")


def test_every_trial_is_measured_once_before_any_is_measured_twice() -> None:
    claims = [claim("crashes"), replace(claim("later", "", 2, "b"), name="other")]
    assert needed(claims) == {"a": 5, "b": 2}
    assert order(needed(claims), {"a": 1}) == [("b", 0), ("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert order(needed(claims), {"a": 5, "b": 2}) == []


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 5, 0.0, 0.5218),
        (5, 5, 0.4782, 1.0),
        (20, 20, 0.8316, 1.0),
        (1, 10, 0.0025, 0.4450),
        (7, 20, 0.1539, 0.5922),
    ],
)
def test_share_interval_is_the_exact_one(count: int, total: int, low: float, high: float) -> None:
    """Values of R's binom.test."""
    assert share_interval(count, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def record(**measured: tuple[Measurement, ...]) -> ClaimsRecord:
    return ClaimsRecord(
        run_id="2026-11-29T03-00-00-1",
        started_at="2026-11-29T03:00:00+00:00",
        machine={"cores": 2},
        harness_version="0.1.0",
        claims=(claim("crashes"),),
        tests={"a": "sockets | <script>"},
        expected={"a": "crashed"},
        measured=measured,
    )


def test_a_record_survives_json() -> None:
    made = record(a=(CRASH, GOOD))
    assert from_dict(to_dict(made)) == made
    assert made.remaining() == [("a", 2), ("a", 3), ("a", 4)]
    with pytest.raises(ConfigError, match="schema_version 7: expected 1"):
        from_dict(to_dict(made) | {"schema_version": 7})
    with pytest.raises(ConfigError, match="not a record of claims"):
        from_dict({"schema_version": 1})


def test_both_tables_have_every_column_and_escape_what_they_show() -> None:
    made = record(a=crashes(4.0, 5.0, 4.5, 4.2, 4.1))
    for text in (render_markdown(made), render_html(made)):
        assert "<script>" not in text
        for part in ("4.2 s (4.0 to 5.0)", "+1 eventfd (1 to 1) per check", "crashed in 5 of 5", "Section 1"):
            assert part in text
    assert "Measured on 2026-11-29 on 2 cores: 5 repeats" in render_markdown(made)


def test_growth_that_single_repeats_show_is_left_out() -> None:
    assert growth((CRASH, replace(CRASH, growth=()), replace(CRASH, growth=()))) == ""
    assert growth((CRASH, CRASH, replace(CRASH, growth=()))) == "+1 eventfd (1 to 1) per check"
    assert time_to_failure((GOOD,)) == "no crash in 20 s"


def test_a_repeat_that_ended_otherwise_is_listed() -> None:
    other = replace(CRASH, expected=False, note="expected return code 2, saw 1")
    assert record(a=(CRASH, other)).unexpected_results() == [
        "a: 1 of 2 repeats not as described (crashed): expected return code 2, saw 1"
    ]
