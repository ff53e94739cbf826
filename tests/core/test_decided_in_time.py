"""Simulated services that remained undecided after two minutes before the plan had these rules: at least one seed for
each rule.

Each of them was inconclusive before its rule, with most of its time spent on controls and waits that could not decide
it. How often a kind is decided is measured by ``python -m bench.detector``.
"""

from __future__ import annotations

import pytest

from bench._detector_cells import GROUPS
from bench._services import run
from harness.core.cycle import Phase
from harness.core.judge.trial import judge
from harness.core.record import Trial

DECIDED = {
    "the length of a hold says nothing of a load's": ("released after 1 to 60 s", 1_000_007),
    "growth that paused needs more streams, not controls": ("3 opened on first use", 1_000_008),
    "growth that paused needs more of its own driver": ("200 tenants, Zipf", 10),
    "growth in too few cycles is not waited for": ("pool of 56, in chunks of 8", 1_000_027),
    "what is left may fall until the retention time is over": (
        "released after 10 s on average, 60 at most",
        16,
    ),
    "a number that every burst adds is a step of the pool": ("pool, 5 a burst to 150", 1_000_000),
    "a burst may add nothing": ("threads, 4 a burst to 100, idle after 30 s", 1_000_002),
    "a rest that a pool could hold gets a second load": ("1 per 20 beside a release after 20 s", 1_000_000),
    "loads continue until a leak leaves more than a pool holds": ("1 per 40 beside a release after 8 s", 3),
    "a wait begins with something to release": ("1 per 8 beside a sweep every 15 s", 28),
    "loads of a few units show no sweep": ("1 per 500 + jitter ±1", 2),
    "jitter does not make growth in few cycles worth a wait": ("log rotated every 700 requests", 134),
    "a noisy reading may cost a load, not the run": ("1 per 1,000 + jitter ±1", 14),
    "slow growth needs loads rather than long controls": ("1 per 1,000", 43),
    "a small load shows that units come one by one": ("1 per 1,000", 55),
    "no pool holds four times the largest default pool": ("1 per 10, varying (gamma 1)", 8),
    "bursts that fill no pool give way to a larger load": ("1 per 10, after 20 s", 82_001),
    "slow growth is slow per event too": ("pool of 32, one in two cycles", 40),
    "what expires needs a request": ("1 per stream, expired after 30 s by the next", 0),
    "a cleanup by count that loads showed needs no more requests": ("freed every 1,000 requests", 151_000),
    "objects get no further requests": ("1 object per 100", 180_023),
    "requests after a whole wait are many": ("1 per 10, expired after 45 s by one in a hundred", 90_006),
    "no request comes just before the retention time": (
        "1 per 12 beside an expiry after 18 s by the next",
        161_000,
    ),
    "requests that release nothing are too few": (
        "1 per stream, expired after 20 s by one in a hundred",
        89002,
    ),
    "objects that fall with a load need more loads, not a wait": ("objects: 3,000 buffers of a JVM", 310_004),
    "buffers of a JVM add less in the second half": ("objects: 60,000 of a JVM", 310_024),
    "objects that fell now and then get more streams": ("objects: 3,000 buffers of a JVM", 310_003),
    "a few streams of a JVM collect what others used": ("5 objects per connection of a JVM", 310_003),
    "what is not old enough needs another request": ("1 per stream, expired after 60 s by the next", 0),
}


def _played(name: str, seed: int) -> tuple[Trial, str]:
    """The trial of one kind under the whole plan, and the outcome it should have."""
    group, kind = next(
        (group, kind) for group, kinds in GROUPS.items() for kind in kinds if kind.name == name
    )
    return run(kind, seed), "bounded" if group.startswith("healthy") else "leaking"


@pytest.mark.parametrize(("name", "seed"), DECIDED.values(), ids=DECIDED)
def test_each_row_is_decided_within_two_minutes(name: str, seed: int) -> None:
    seen, outcome = _played(name, seed)
    verdict = judge(seen)
    assert verdict.outcome.value == outcome, verdict.explanation
    assert seen.ended <= 121.0


@pytest.mark.parametrize("seed", [250_001, 250_044])
def test_tenants_that_come_more_rarely_are_no_certain_leak(seed: int) -> None:
    """After 10,000 streams the rate of 3,500 tenants had fallen to a third, which chance explained in 3 of 60 runs."""
    seen, _ = _played("3,500 tenants, Zipf", seed)
    assert judge(seen).outcome.value != "leaking"


def test_one_load_without_growth_is_no_pass() -> None:
    """Its 9,851 streams added nothing, because the rate of that load was drawn near zero; the others left 0.1 each."""
    seen, _ = _played("1 per 10, varying (gamma 1)", 400_050)
    assert judge(seen).outcome.value != "bounded"


@pytest.mark.parametrize("seed", [340_000, 340_002])
def test_what_fills_beside_a_leak_is_in_its_interval(seed: int) -> None:
    """Five objects for each stream of a JVM whose buffers fill as well were 5.3 (5.2 to 5.4)."""
    seen, _ = _played("5 objects per connection of a JVM", seed)
    rate = judge(seen).findings[0].rate
    assert rate is not None
    assert rate.low <= 5.0 <= rate.high


def test_a_remainder_larger_than_a_pool_needs_no_second_load() -> None:
    seen, outcome = _played("1 per 10 beside a release after 2 s", 0)
    assert judge(seen).outcome.value == outcome
    waits = [o.spec.phase is Phase.RETENTION for o in seen.observations]
    loads = [o for o in seen.observations[waits.index(True) :] if o.ledger.opened]
    assert [o.spec.phase for o in loads] == [Phase.RETENTION], "the requests that end the wait"


def test_a_full_pool_is_shown_by_a_long_burst() -> None:
    """Ten short bursts in a row add nothing, and 500 streams are too few for a bound."""
    seen, outcome = _played("threads, 8 a burst to 200, idle after 60 s", 7)
    assert judge(seen).outcome.value == outcome
    levels = [o.levels[key] for o in seen.observations for key in o.levels if key.metric == "threads"]
    full = levels.index(max(levels))
    assert any(o.spec.connections > 5_000 for o in seen.observations[full + 1 : full + 6])
