"""The texts and figures of findings and bounds, each from invented values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.judge import bounds, classes, findings
from harness.core.judge.assessed import Assessed
from harness.core.judge.moment import Moment
from harness.core.judge.moments import moments
from harness.core.judge.recipe import explain
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.core.record import Place, Places
from tests.core.series import FDS, OBJECTS, observation, trial

MIB = float(1 << 20)
MEMORY, HEAP, CPU = Key("memory", "anonymous"), Key("memory", "heap-bytes"), Key("idle-cpu")


def read(levels: Sequence[Mapping[Key, float]]) -> list[Moment]:
    """Moments three seconds apart, after 300 streams each."""
    return list(moments(trial([], observations=[observation(n, each) for n, each in enumerate(levels)])))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (FDS, 12.0, "12"), (FDS, 12.5, "12.5"), (MEMORY, 12.0, "12 B"), (MEMORY, MIB - 1, "1.04858e+06 B"),
        (MEMORY, MIB, "1 MiB"), (MEMORY, 1.5 * MIB, "1.5 MiB"), (OBJECTS, 2 * MIB, "2.09715e+06"), (CPU, 0.25, "0.25"),
    ],
)  # fmt: skip
def test_a_level_has_its_unit_where_it_is_bytes(key: Key, value: float, text: str) -> None:
    assert findings._level(value, key) == text


@pytest.mark.parametrize(
    ("level", "limit", "found"), [(10.0, 9.0, True), (9.0, 9.0, False), (9.1, 9.0, True), (8.0, 9.0, False)]
)
def test_a_ceiling_is_passed_by_the_highest_level(level: float, limit: float, found: bool) -> None:
    one = trial([], budget=Budget(ceilings={"fds": limit, "threads": 1.0}))
    made = findings.ceilings(one, read([{FDS: 1.0}, {FDS: level}, {FDS: 2.0}]))
    assert bool(made) is found
    if found:
        assert (made[0].metric, made[0].status, made[0].driver, made[0].rate) == (
            "fds",
            "over-ceiling",
            None,
            None,
        )
        assert f"reached {level:g} while idle" in made[0].explanation


@pytest.mark.parametrize(
    ("levels", "grown"),
    [
        ((10, 20, 30, 30, 30), 20), ((10, 30, 30), 20), ((10, 20, 30), None), ((10, 12, 12), None), ((10, 13, 13), 3),
        ((10, 30, 12), None), ((10, 30, 29, 13), 20), ((30, 20, 10), None), ((10, 20), None), ((10, 10, 10), None),
    ],
)  # fmt: skip
def test_a_pool_grew_and_stopped_and_most_of_it_stayed(
    levels: tuple[float, ...], grown: float | None
) -> None:
    text = bounds.pooled(read([{FDS: float(level)} for level in levels]), FDS)
    assert bool(text) is (grown is not None)
    assert grown is None or text.startswith(f"grew by {grown:g} during the first ")


def test_a_total_is_made_up_of_the_three_classes_that_grew_most() -> None:
    def level(n: int) -> dict[Key, float]:
        kinds = {"a": 1.0, "b": 40.0, "c": 0.9, "d": 7.0, "e": 5.0, "f": -9.0}
        return {FDS: 10.0, **{Key("fds", kind): 50.0 + n * by for kind, by in kinds.items()}}

    found = read([level(0), level(1)])
    assert classes.composition(found, FDS) == "; made up of b +40, d +7, e +5"
    assert classes.composition(found[:1], FDS) == ""
    assert classes.composition(found, Key("threads")) == ""
    assert classes.composition(read([{HEAP: 1.0}, {HEAP: 9.0}]), Key("memory")) == ""


@pytest.mark.parametrize(
    ("key", "levels", "hourly"),
    [
        (FDS, (10.0, 10.0, 10.0), 3.0 / (6 / 3600)), (MEMORY, (MIB, 2 * MIB), 2 * MIB / (3 / 3600)),
        (MEMORY, (2 * MIB, MIB), MIB / (3 / 3600)), (OBJECTS, (5.0, 5.0, 5.0), 3.0 / (6 / 3600)),
        (HEAP, (1e6, 1e6 + 500, 1e6 + 100), (100 + 4096) / (6 / 3600)), (CPU, (0.1, 0.1), 0.002 / (3 / 3600)),
        (HEAP, (1e6 + 9000, 1e6, 1e6 + 8000), (0 + 9000) / (6 / 3600)),
    ],
)  # fmt: skip
def test_growth_per_hour_is_bounded_by_the_time_seen(
    key: Key, levels: tuple[float, ...], hourly: float
) -> None:
    assert bounds.per_hour(read([{key: level} for level in levels]), key) == pytest.approx(hourly)


def test_growth_per_hour_takes_two_readings() -> None:
    assert bounds.per_hour(read([{FDS: 1.0}]), FDS) is None
    assert bounds.per_hour(read([{FDS: 1.0}, {Key("threads"): 1.0}]), FDS) is None
    grew = bounds.per_hour(read([{FDS: 1.0}, {FDS: 2.0}]), FDS)
    assert grew is not None
    assert grew == pytest.approx(5.57 / (3 / 3600), rel=0.01), "the exact Poisson interval of one"


@pytest.mark.parametrize(
    ("one", "sensitivity", "chance"),
    [
        (Assessed("bounded", 1e-3, ""), 1e-3, math.exp(-3)), (Assessed("bounded", 5e-4, ""), 1e-3, math.exp(-6)),
        (Assessed("undecided", 1e-3, ""), 1e-3, None), (Assessed("bounded", 1e-3, "", total=1.0), 1e-3, None),
        (Assessed("bounded", 1e-3, ""), 0.0, None),
    ],
)  # fmt: skip
def test_a_pass_misses_a_leak_with_the_chance_that_none_came(
    one: Assessed, sensitivity: float, chance: float | None
) -> None:
    expected = None if chance is None else pytest.approx(chance, rel=1e-5)
    assert bounds.missed(FDS, one, sensitivity) == expected
    assert bounds.missed(OBJECTS, one, sensitivity) is None


PLACES = Places(
    (
        Place("task", "a.py:1 in f"), Place("container", "`x` in `y`, a list that gains 1.00 per connection"),
        Place("thread", "b.py:2 in g"), Place("line", "c.py:3"),
    ),
    more=2, notes=(Note(NoteKind.SEARCH_LIMIT, "start with z"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "indices"), [("tasks", (0, 1)), ("threads", (2, 1)), ("memory", None), ("mappings", None)]
)
def test_places_of_the_metric_itself_explain_it_and_else_all_that_grew(
    metric: str, indices: tuple[int, ...] | None
) -> None:
    texts = [place.text for place in PLACES.places]
    expected = (
        [texts[index] for index in indices] if indices else [*texts, "and 2 more places", "start with z"]
    )
    assert list(findings.where(PLACES, Key(metric))) == expected
    assert findings.where(None, Key(metric)) == ()
    assert findings.where(Places(PLACES.places), Key("memory")) == tuple(texts)


TWO_LEAKS = Places(
    (
        Place("resource", "a.js:11: 1.00 listeners per connection", rate=1.0),
        Place("container", "an array that gains 1.00 per connection", rate=1.0),
        Place("resource", "a.js:12: 0.50 handles per connection", rate=0.5),
        Place("container", "a set that gains 0.50 per connection", rate=0.5),
    )
)  # fmt: skip


@pytest.mark.parametrize(("rate", "indices"), [(0.5, (2, 0, 3)), (1.0, (0, 2, 1)), (3.0, (0, 2, 1, 3))])
def test_places_of_the_same_rate_come_first_and_the_container_of_another_leak_is_left_out(
    rate: float, indices: tuple[int, ...]
) -> None:
    """A listener per stream and a timer per second stream: the timer was said to be at the line of the listener."""
    texts = [place.text for place in TWO_LEAKS.places]
    assert list(findings.where(TWO_LEAKS, Key("tasks", "handle"), rate)) == [
        texts[index] for index in indices
    ]


def test_a_class_that_did_not_grow_is_explained_by_nothing() -> None:
    rates = {Key("fds", "eventpoll"): 2.0, Key("fds", "eventfd"): 4.0, Key("threads"): 2.0, Key("mappings"): 0.0,
             Key("fds", "tcp-out:80"): 0.0}  # fmt: skip
    found = explain(rates)
    assert {str(key) for key in found} == {"fds/eventpoll", "fds/eventfd", "threads"}
    assert {one.name for one in found.values()} == {"zeromq-context"}


def leaking(rate: float, half: float, total: float) -> Assessed:
    return Assessed(
        "leaking", rate + half, "rose", total, total, rate=rate, low=rate - half, high=rate + half
    )


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        # Sockets of departed clients pass from one class to the other: one of them stood in a headline.
        ({"close-wait": leaking(0.95, 0.2, 2634), "rowless-socket": leaking(1.01, 2.0, 207)}, FDS),
        ({"close-wait": leaking(0.95, 0.2, 2634)}, FDS),
        # By how the clients left: exact, and of one cause.
        ({"close-wait": leaking(0.4, 0.0, 1124), "rowless-socket": leaking(0.6, 0.0, 1686)}, FDS),
        ({"close-wait": leaking(0.4, 0.0, 1124), "rowless-socket": leaking(0.1, 0.0, 281)}, None),
        ({"close-wait": leaking(1.0, 0.2, 2810)}, Key("fds", "close-wait")),  # it makes up the total alone
        # The last sockets changed their state too late for the class to be certain.
        ({"close-wait": replace(leaking(1.0, 0.0, 2810), status="suspected")}, FDS),
        (
            {"eventfd": leaking(1.0, 0.0, 2810), "pipe": leaking(0.02, 0.01, 30)},
            None,
        ),  # one of them is exact itself
    ],
)
def test_of_classes_that_pass_into_each_other_the_exact_total_is_shown(
    kinds: dict[str, Assessed], shown: Key | None
) -> None:
    results = {FDS: leaking(1.0, 0.0, 2810), **{Key("fds", kind): one for kind, one in kinds.items()}}
    keys = classes.reported_keys(results)
    assert keys == ([shown] if shown else [Key("fds", kind) for kind in kinds])


def test_a_total_of_which_no_class_is_certain_is_explained_by_its_classes() -> None:
    """A Go service kept the sockets of clients that had left: one of each, most in CLOSE_WAIT, the others of MPTCP."""
    seen = [
        observation(
            index,
            {
                FDS: 10.0 + 300 * index,
                Key("fds", "close-wait"): (0, 240, 500, 690, 1000, 1150)[index],
                Key("fds", "mptcp"): (0, 60, 100, 210, 200, 350)[index],
                Key("fds", "eventpoll"): 1.0,
            },
        )
        for index in range(6)
    ]
    [finding] = findings.leaks(
        trial([], observations=seen), moments(trial([], observations=seen)), {FDS: leaking(1.0, 0.0, 1500)}
    )
    assert finding.recipe == "unnoticed-departure-mptcp"
    assert "the client's departure is not noticed" in finding.explanation
