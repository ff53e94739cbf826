"""What a person reads at the end: figures, cause, place, forecast and the one next step."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import ExitInfo, Place, Places, Trial
from harness.report.paragraph import paragraph
from tests.core.series import trial

LEAKING = trial([310, 610, 910, 1210])
EMFILE = "OSError: [Errno 24] Too many open files"


def read(one: Trial) -> str:
    return paragraph(replace(one, verdict=judge(one)))


def test_a_leak_has_rate_forecast_extent_place_and_a_step_that_begins_there() -> None:
    found = Places((Place("descriptor", "app.py:12 in serve: 1.00 descriptors per connection"),))
    text = read(replace(LEAKING, places=found))
    assert text.startswith("LEAKING: +1.00 fds per connection: ")
    assert "RLIMIT_NOFILE (1024) is met after " in text
    assert "Seen over 2,100 connections in 7 cycles, 21.0 s." in text
    assert "Where: app.py:12 in serve: 1.00 descriptors per connection." in text
    assert "Next: begin at app.py:12: look at what is opened per connection" in text
    assert " 1 to 1 " not in text, "an interval without width says nothing"
    assert "begin at" not in read(LEAKING), "no place is made up"


def test_a_pass_says_of_every_known_metric_how_little_could_have_stayed() -> None:
    passed = trial([10.0] * 30)
    threads = tuple(replace(one, levels={**one.levels, Key("threads"): 4.0}) for one in passed.observations)
    text = read(replace(passed, observations=threads))
    assert text.startswith("BOUNDED: everything came back after 9900 connections: at most 0.0003")
    assert "Likewise at most 0.0003" in text
    assert re.search(r"Likewise at most 0\.0003\d* threads per connection\. ", text), text
    assert re.search(r"Growth over time: at most [\d.,]+ threads per hour\.$", text), text


def test_a_ceiling_is_told_in_units_that_are_read_with_what_to_do() -> None:
    key = Key("memory", "anonymous")
    over = trial([float(15 << 20)] * 6, key=key, budget=Budget(ceilings={"memory/anonymous": 1 << 20}))
    text = read(over)
    assert "memory/anonymous reached 15 MiB at rest, over its ceiling of 1 MiB" in text
    assert "Next: see in the report what holds them at rest" in text


@pytest.mark.parametrize("ends", ["stalled", "crashed"])
def test_one_that_ran_out_is_told_what_of_and_not_sent_elsewhere(ends: str) -> None:
    mute = [
        replace(one, ledger=replace(one.ledger, stalls=one.ledger.opened, events=0))
        for one in trial([10.0] * 4).observations
    ]
    said: dict[str, object] = {
        "stalled": {"observations": tuple(mute), "extra": {"last_words": ["x", EMFILE]}},
        "crashed": {"exit": ExitInfo(1, 9.0, 300, ("x", EMFILE))},
    }
    changes = said[ends]
    assert isinstance(changes, dict)
    text = read(replace(trial([10.0] * 4), **changes))
    assert text.startswith(ends.upper())
    assert "its log says that descriptors ran out" in text
    assert "Next: look at what is opened per connection and not closed" in text
    without = read(replace(trial([10.0] * 4), **{**changes, "extra": {}, **(
        {"exit": ExitInfo(1, 9.0, 300, ())} if ends == "crashed" else {}
    )}))  # fmt: skip
    assert "what is opened per connection" not in without
