"""Why a run can say nothing for certain, what weakens it, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.cycle import Ledger
from harness.core.growth import Assessed
from harness.core.judge_counts import CERTIFIED
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.units import counted
from harness.core.unnoticed import settle_for, slowest_close

RESTLESS = ("mappings",)  # an interpreter maps an arena now and then: only a certain leak counts
MORE = "give more time or connections (--max-time, --connections), or ask for less (--sensitivity)"
LONGER = (
    "give more time (--max-time): a pool fills and stops, a leak goes on; or ask for less (--sensitivity)"
)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why nothing is certain, and the one next step."""

    why: str
    advice: str


def doubt_of(trial: Trial, results: Mapping[Key, Assessed]) -> Doubt | None:
    """The weightiest reason not to certify a pass; None when there is none."""
    if trial.interrupted:
        return Doubt("the run was interrupted", "let it run to its end; what was measured is kept")
    total = ledger_total(trial)
    if total.rate_limited:
        return Doubt(
            f"rate limited: 429 or 503 refused {counted(total.rate_limited, 'stream')}",
            "raise the service's limit for the test, or spread the load over source addresses",
        )
    if total.opened and total.failed * 2 > total.opened:
        worst = max(total.causes.items(), key=lambda item: (item[1], item[0]), default=("unknown", 0))
        return Doubt(
            f"{total.failed} of {counted(total.opened, 'stream')} failed, most by: {worst[0]}",
            "open the URL by hand: the load must reach the service before it can be judged",
        )
    slow = settle_for(trial.observations)
    if slow and (first := _undecided(trial, results)):
        late = slowest_close(trial.observations)
        return Doubt(
            f"the service closed connections up to {late:.0f} s after the clients had left; {first.why}",
            f"give it that time: {slow}",
        )
    return _undecided(trial, results)


def _undecided(trial: Trial, results: Mapping[Key, Assessed]) -> Doubt | None:
    """What is open although the load reached the service."""
    unsettled = [o for o in trial.observations if o.complete and not o.settled]
    if unsettled and len(unsettled) * 2 >= len(trial.observations):
        return Doubt(
            f"{len(unsettled)} of {counted(len(trial.observations), 'cycle')} never settled "
            f"({unsettled[-1].unsettled} moved)",
            "give a longer --settle, or stop background work during the test",
        )
    if not any(key.metric in CERTIFIED for key in results):
        return Doubt("no two cycles were completed and read", MORE)
    growing = {
        key: one
        for key, one in results.items()
        if one.growing and one.status == "undecided" and key.metric not in RESTLESS
    }
    open_ = growing or {
        key: one for key, one in results.items() if one.status == "undecided" and key.metric in CERTIFIED
    }
    if open_:
        key = max(open_, key=lambda k: (open_[k].at_most, str(k)))
        return Doubt(f"{key}: {open_[key].why}", LONGER if growing else MORE)
    return None


def warnings_of(trial: Trial) -> list[str]:
    """What a reader should know beside the verdict."""
    found = []
    if any(o.ledger.saturated for o in trial.observations):
        found.append("the load generator was the bottleneck in at least one cycle")
    unreadable = sorted({reason for o in trial.observations if o.census for reason in o.census.unreadable})
    found.extend(f"not read: {reason}" for reason in unreadable[:5])
    unsettled = [o.spec.index for o in trial.observations if o.complete and not o.settled]
    if unsettled:
        found.append(f"cycles that never settled: {', '.join(map(str, unsettled[:10]))}")
    ended = [event for o in trial.observations if o.complete for event in o.events]
    if ended:
        found.append(
            f"processes came and went ({len(ended)}): {'; '.join(ended[:3])}; what one held went with it, so a leak "
            "may look smaller than it is"
        )
    total = ledger_total(trial)
    if total.failed and not trial.exit:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(total.causes.items()))
        found.append(f"{total.failed} of {counted(total.opened, 'stream')} failed: {causes}")
    return found


def ledger_total(trial: Trial) -> Ledger:
    """What the swarm counted over all cycles."""
    loads = [o.ledger for o in trial.observations]
    causes: dict[str, int] = {}
    for ledger in loads:
        for cause, count in ledger.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    return Ledger(
        opened=sum(x.opened for x in loads),
        completed=sum(x.completed for x in loads),
        failed=sum(x.failed for x in loads),
        events=sum(x.events for x in loads),
        rate_limited=sum(x.rate_limited for x in loads),
        seconds=math.fsum(x.seconds for x in loads),
        causes=causes,
    )


def connections_per_second(trial: Trial) -> float | None:
    """The pace of the whole load, for saying when a ceiling is met."""
    total = ledger_total(trial)
    return total.opened / total.seconds if total.seconds > 0 and total.opened else None
