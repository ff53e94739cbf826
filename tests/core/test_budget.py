"""Budgets: growth that is granted, precedence, and the message of each mistake."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from harness.config import budget_for, find, from_arguments, line_numbers, load
from harness.core.budget import RETENTION, Budget, merge_budgets, shared
from harness.core.errors import ConfigError
from harness.core.judge.one_count import allowed
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.verdict import Outcome
from tests.core.series import trial

TODAY = datetime.date(2026, 11, 25)
WHOLE = """
[budget]
fds = "0/connection"
memory = ["1 KiB/connection", "1 MiB/hour"]
"fds/tcp-out:5432" = "1/1000 connections"

[budget.ceilings]
fds = 500
memory = "256 MiB"

[budget.pools]
threads = 32

[endpoint."/events"]
memory = "3 KiB/connection"

[profile.nightly]
threads = "1/hour"

[[exception]]
metric = "fds/eventfd"
allow = "1/connection"
reason = "libzmq keeps one for each context"
expires = 2027-01-31
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "budgets.toml"
    path.write_text(WHOLE)
    return path


def budget(file: Path, *endpoints: str, **more: Any) -> Budget:
    return budget_for(file, endpoints=endpoints or ("/",), today=TODAY, **more)[0]


def test_every_kind_of_entry_is_read_in_its_unit(file: Path) -> None:
    found = budget(file)
    assert found.growth["memory"] == 1024
    assert found.per_hour["memory"] == 1 << 20
    assert found.growth["fds/tcp-out:5432"] == pytest.approx(0.001)
    assert found.ceilings == {"fds": 500, "memory/anonymous": 256 << 20}
    assert found.pools == {"threads": 32}


def test_the_more_specific_entry_goes_before_and_endpoints_share(file: Path) -> None:
    assert budget(file, "/events?channel=1").growth["memory"] == 3 * 1024
    assert budget(file, "/events", "/other").growth["memory"] == 2 * 1024, "opened in turn: the mean"
    assert "threads" not in budget(file).per_hour
    assert budget(file, profile="nightly").per_hour["threads"] == 1


def test_an_exception_is_reported_and_grants_the_total_as_well(file: Path) -> None:
    found, notes = budget_for(file, endpoints=("/",), today=TODAY)
    assert any("2027-01-31" in note.text and "libzmq keeps one" in note.text for note in notes)
    assert allowed(found, Key("fds", "eventfd")).connection == 1
    assert allowed(found, Key("fds")).connection == pytest.approx(1.001)
    assert allowed(found, Key("fds", "pipe")).connection == 0


def test_on_its_last_day_an_exception_holds_and_the_day_after_it_fails(file: Path) -> None:
    budget_for(file, endpoints=("/",), today=datetime.date(2027, 1, 31))
    with pytest.raises(ConfigError, match=r"line 24.*fds/eventfd expired on 2027-01-31.*libzmq keeps one"):
        budget_for(file, endpoints=("/",), today=datetime.date(2027, 2, 1))


def test_bytes_of_memory_grant_no_live_objects() -> None:
    granted = Budget(growth={"memory": 1024.0})
    assert allowed(granted, Key("memory", "anonymous")).connection == 1024
    assert allowed(granted, Key("memory", "heap-bytes")).connection == 1024
    assert allowed(granted, Key("memory", "objects")).connection == 0


def test_a_leak_within_its_exception_is_bounded_and_without_it_is_not(file: Path) -> None:
    grown = [310 + 300 * n for n in range(12)]
    plain = trial(grown, budget=budget(file))
    assert judge(plain).outcome is not Outcome.LEAKING, judge(plain).explain()
    file.write_text(WHOLE.partition("[[exception]]")[0])
    assert judge(trial(grown, budget=budget(file))).outcome is Outcome.LEAKING


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('fds = "0', 'fdss = "0', 3, "metric 'fdss': expected one of fds, .* did you mean 'fds'"),
        ("0/connection", "0/conection", 3, "'conection'; expected per .* did you mean 'connection'"),
        ('"0/connection"', "0", 3, "fds = 0: expected an amount per connection"),
        (
            "1 KiB/conn",
            "1 Kib per conn",
            4,
            "expected an amount per connection, event, hour or connected hour",
        ),
        ("1 MiB/hour", "2 KiB/connection", 4, "two amounts per connection"),
        ("fds = 500", "fds = -5", 8, "-5: expected a number from 0"),
        ("fds = 500", "fds = true", 8, "True: expected a number"),
        ("256 MiB", "256 MuB", 9, "256 MuB.*expected a size"),
        ("[budget.ceilings]", "[budgets.ceilings]", 7, "'budgets': expected one of budget, .* mean 'budget'"),
        ('"/events"', '"events"', 14, "'events': expected a path that begins with /"),
        ("1/hour", "1 KiB/hour", 18, "1 KiB.*expected a number"),
        ("metric = ", "metrik = ", 21, "'metrik'.* did you mean 'metric'"),
        ('"fds/eventfd"', '"memory/heap"', 21, "'heap' of memory: expected .* did you mean 'heap-bytes'"),
        ('reason = "libzmq keeps one for each context"\n', "", 20, "without 'reason'"),
        ('"libzmq keeps one for each context"', '" "', 23, "reason = ' ': expected a string"),
        ("2027-01-31", '"soon"', 24, "'soon': expected a date such as"),
        ("[[exception]]", "[exception]", 20, r"expected \[\[exception\]\]"),
        ("[profile.nightly]\nthreads =", "[profile]\nnightly =", 18, r"nightly = .*expected a table"),
        ('"1/hour"', "", 18, "not TOML"),
        (
            "expires",
            'profile = "nightli"\nexpires',
            24,
            "'nightli': expected a .profile. .* did you mean 'nightly'",
        ),
        ("expires", 'endpoint = "events"\nexpires', 24, "'events': expected a path that begins with /"),
        ('"1/connection"', '"1e999/connection"', 22, "1e999.*expected a number"),
        ("fds/eventfd", "fds/evetnfd", 21, "'evetnfd' of fds: expected .* did you mean 'eventfd'"),
    ],
)
def test_a_mistake_names_file_line_value_and_what_was_expected(
    file: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in WHOLE
    file.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=rf"(?s)budgets\.toml, line {line}: .*{words}"):
        load(file)


def test_an_unknown_profile_names_those_there_are(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"nightli.*expected nightly; did you mean 'nightly'"):
        budget(file, profile="nightli")


def test_the_file_is_found_upward_and_a_section_of_pyproject_counts(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    project = tmp_path / "a" / "pyproject.toml"
    project.write_text('[project]\nname = "x"\n')
    (tmp_path / "budgets.toml").write_text('[budget]\nfds = "2/connection"\n')
    assert find(below) == tmp_path / "budgets.toml"
    project.write_text('[project]\nname = "x"\n[tool.harness.budget]\nfds = "3/conection"\n')
    assert find(below) == project
    with pytest.raises(ConfigError, match=r"pyproject\.toml, line 4: .*conection"):
        load(project)
    (tmp_path / "a" / "budgets.toml").write_text("")
    with pytest.raises(ConfigError, match="both hold budgets"):
        find(below)


def test_without_a_file_nothing_may_grow_and_a_profile_is_an_error(tmp_path: Path) -> None:
    if find(tmp_path) is None:  # no budgets.toml above the temporary folder
        assert budget_for(None, endpoints=("/",), start=tmp_path) == (Budget(), ())
        with pytest.raises(ConfigError, match="nightly"):
            budget_for(None, endpoints=("/",), start=tmp_path, profile="nightly")


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def test_arguments_of_a_call_are_the_same_language() -> None:
    found = from_arguments(
        {"fds": "0/connection", "idle_cpu": "0.1/hour", "ceilings": {"fds": 9}}, "the marker"
    )
    assert found.per_hour == {"idle-cpu": 0.1}
    assert found.ceilings == {"fds": 9}
    with pytest.raises(ConfigError, match=r"the marker: metric 'fd'.*did you mean 'fds'"):
        from_arguments({"fd": "0/connection"}, "the marker")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('[budget]\nretain = "5m"', {"*": 300}),
        ("[budget]\nretain = 90", {"*": 90}),
        ('[budget]\nretain = "0s"', {"*": 0}),
        (
            '[budget.retain]\n"*" = "10s"\nthreads = "5m"\n"fds/tcp-out:5432" = "1h"',
            {"*": 10, "threads": 300, "fds/tcp-out:5432": 3600},
        ),
        ('[budget]\nretain = "5m"\n[endpoint."/"]\nretain = "1m"', {"*": 60}),
        ('[endpoint."/"]\nretain = "1m"\n[profile.nightly]\nretain = "2h"', {"*": 7200}),
        (
            '[budget]\nretain = "5m"\n[profile.nightly.retain]\nmemory = "2h"',
            {"*": 300, "memory": 7200},
        ),
    ],
)
def test_a_retention_time_holds_for_all_metrics_or_for_one(
    file: Path, text: str, read: dict[str, float]
) -> None:
    file.write_text(text if "nightly" in text else f"{text}\n[profile.nightly]\n")
    assert budget(file, profile="nightly").retain == read


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('retain = "5 minutes"', 2, "retain '5 minutes': expected a time such as"),
        ('retain = "-5m"', 2, "retain '-5m': expected a time such as"),
        ("retain = -5", 2, "retain = -5: expected a time in quotes"),
        ("retain = nan", 2, "retain = nan: expected a time in quotes"),
        ("retain = true", 2, "retain = True: expected a time in quotes"),
        ('retain = ["5m"]', 2, "expected a time in quotes"),
        ('retention = "5m"', 2, "metric 'retention': expected .*retain"),
        ('retian = "5m"', 2, "did you mean 'retain'"),
        ('[budget.retain]\nthread = "5m"', 3, "metric 'thread': .* did you mean 'threads'"),
        ('[budget.retain]\nthreads = "5/hour"', 3, "threads '5/hour': expected a time such as"),
    ],
)
def test_a_mistake_in_a_retention_time_names_its_line_and_what_was_expected(
    file: Path, text: str, line: int, words: str
) -> None:
    file.write_text(f"[budget]\n{text}\n")
    with pytest.raises(ConfigError, match=rf"(?s)budgets\.toml, line {line}: .*{words}"):
        load(file)


def test_of_endpoints_opened_in_turn_the_longest_retention_time_holds() -> None:
    one, other = Budget(retain={"*": 30.0, "fds": 300.0}), Budget(retain={"fds/pipe": 10.0, "memory": 90.0})
    for budgets in ((one, other), (other, one)):
        found = shared(budgets).retain
        assert found == {"*": RETENTION, "fds": 300, "fds/pipe": 300, "memory": 90}
    assert shared((one,)).retain == one.retain


def test_a_time_of_its_own_decides_when_a_metric_is_a_leak(file: Path) -> None:
    """Growth that is certain, and as old as the series: longer than 1 s, shorter than an hour."""
    grown = [310 + 300 * n for n in range(12)]
    for text, outcome in (('"*" = "1h"\nfds = "0s"', Outcome.LEAKING), ('fds = "1h"', Outcome.INCONCLUSIVE)):
        file.write_text(f"[budget.retain]\n{text}\n")
        verdict = judge(trial(grown, budget=budget(file)))
        assert verdict.outcome is outcome, verdict.explain()


def test_line_numbers_know_quoted_dotted_and_repeated_names() -> None:
    text = '[a."b c"]\nd.e = 1\n"f=g" = "x = y"\n[[h]]\ni = 1\n[[h]]\ni = 2\n'
    assert line_numbers(text) == {
        ("a", "b c"): 1, ("a", "b c", "d", "e"): 2, ("a", "b c", "f=g"): 3,
        ("h", 0): 4, ("h", 0, "i"): 5, ("h", 1): 6, ("h", 1, "i"): 7,
    }  # fmt: skip


def test_endpoints_opened_in_turn_share_one_budget() -> None:
    """Per connection the mean, over time the largest, of ceilings the lowest, of pools the largest."""
    one = Budget(
        growth={"fds": 1.0, "threads": 4.0},
        per_event={"fds": 2.0},
        per_hour={"fds": 10.0, "memory": 4.0},
        ceilings={"fds": 500.0, "threads": 9.0},
        pools={"threads": 8.0},
    )
    other = Budget(
        growth={"fds/eventfd": 3.0, "threads": 0.0},
        per_hour={"fds": 30.0},
        ceilings={"fds": 300.0},
        pools={"threads": 32.0, "fds": 1.0},
    )
    for budgets in ((one, other), (other, one)):
        assert shared(budgets) == Budget(
            # The bare metric of one endpoint covers the kind that the other names.
            growth={"fds": 0.5, "fds/eventfd": 2.0, "threads": 2.0},
            per_event={"fds": 1.0},
            per_hour={"fds": 30.0, "memory": 4.0},
            ceilings={"fds": 300.0, "threads": 9.0},
            pools={"threads": 32.0, "fds": 1.0},
        )


def test_the_more_specific_budget_decides_only_what_it_names() -> None:
    base = Budget(growth={"fds": 1.0, "threads": 2.0}, ceilings={"fds": 9.0})
    assert merge_budgets(base, Budget(growth={"fds": 0.0}, pools={"fds": 3.0})) == Budget(
        growth={"fds": 0.0, "threads": 2.0}, ceilings={"fds": 9.0}, pools={"fds": 3.0}
    )
