"""Which places explain a finding, and how Python's readings become places."""

from __future__ import annotations

import pytest

from harness.core.findings import where
from harness.core.metric import Key
from harness.core.record import Place, Places
from harness.runtime.python_sites import attribution, line_growth, waiting_growth
from harness.runtime.snapshot import Snapshot

LIBRARY = "/usr/lib/python3.11/asyncio/queues.py"
PACKAGE = "/srv/venv/lib/python3.11/site-packages/web/app.py"
OWN = "/srv/app.py"
FOUND = Places(
    (
        Place("task", "app.py:3: 1.00 tasks per connection"),
        Place("line", "app.py:9: 2.00 blocks per connection"),
    ),
    more=4,
    notes=("sampled",),
)


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (Key("tasks", "asyncio-task"), ("app.py:3: 1.00 tasks per connection",)),
        (
            Key("memory", "objects"),
            (
                "app.py:3: 1.00 tasks per connection",
                "app.py:9: 2.00 blocks per connection",
                "and 4 more",
                "sampled",
            ),
        ),
        (
            Key("threads"),  # nothing speaks of threads: whatever grew may explain them
            (
                "app.py:3: 1.00 tasks per connection",
                "app.py:9: 2.00 blocks per connection",
                "and 4 more",
                "sampled",
            ),
        ),
    ],
)
def test_a_finding_gets_the_places_that_speak_of_it(key: Key, lines: tuple[str, ...]) -> None:
    assert where(FOUND, key) == lines
    assert where(None, key) == ()


def test_the_line_of_the_service_comes_before_the_library_that_it_called() -> None:
    grown = {
        ((LIBRARY, 5), (PACKAGE, 7), (OWN, 12)): (300, 30_000),
        ((LIBRARY, 8),): (900, 900_000),
        ((OWN, 2),): (300, 3_000),
    }
    found = line_growth(Snapshot({}), Snapshot(grown), 300)
    assert [growth.site for growth in found] == [f"{OWN}:12", f"{OWN}:2", f"{LIBRARY}:8"]
    assert found[0].frames == (f"{OWN}:12", f"{LIBRARY}:5", f"{PACKAGE}:7")
    assert found[0].line() == f"{OWN}:12: 1.00 blocks, 100 B per connection"


def test_a_task_is_named_by_the_line_of_the_service_and_by_what_it_waits_in() -> None:
    stack = ((OWN, 4, "forward"), (LIBRARY, 158, "get"))
    (found,) = waiting_growth({("asyncio-task", stack): 300}, 300)
    assert found.site == f"{OWN}:4 in forward (waiting in asyncio/queues.py:158 in get)"
    assert (found.kind, found.per_connection) == ("task", 1.0)


def test_ten_are_shown_and_the_rest_counted() -> None:
    lines = Snapshot({((OWN, number),): (300, 300 * number) for number in range(1, 15)})
    none = Snapshot({})
    found = attribution(types={}, waiting={}, snapshots=(none, none, lines), cycles=(300, 300), top=10)
    assert (len(found.growths), found.more) == (10, 4)
    assert found.lines()[10] == "and 4 more"
    assert found.growths[0].site == f"{OWN}:14"


def test_what_is_rarer_than_a_readings_noise_is_no_place() -> None:
    found = attribution(
        types={"app.Rare": 5, "app.Often": 300, "dict": 600},
        waiting={("thread", ((OWN, 1, "f"),)): 5},
        snapshots=(Snapshot({}), Snapshot({}), Snapshot({})),
        cycles=(150, 150),
        top=10,
    )
    assert [growth.site for growth in found.growths] == ["app.Often", "dict"]
