"""Loads that a running service stopped serving: whether it has recovered since, and what a verdict says if not.

A service may break under a load although nothing leaks: its accept loop ended with an exception, select() takes no
descriptor above 1,023, every worker waits for something. Another one is only busy with what a load left behind, and
serves again a little later. So it is asked again after a wait before it counts as stalled.
"""

from __future__ import annotations

import math
from itertools import pairwise

from harness.core.cycle import Ledger, Observation, Phase
from harness.core.judge.limit import MAX_ANSWERED_SHARE, REFUSED, failures
from harness.core.judge.moments import answered
from harness.core.metric import Key
from harness.core.note import NoteKind
from harness.core.record import Trial
from harness.core.units import counted

# Seconds without clients after which a healthy service serves again. It may still be busy with what a load left behind,
# but a listener that has gone does not come back.
RECOVERY = 30.0
RECOVERY_OF_LISTENER = 10.0
# Answered streams after the first failure, as a share of the failed ones, up to which a load that was cut short counts
# as given up: an asyncio service on a starved machine answered 65 streams and let 1,093 stall.
MAX_ANSWERED_AFTER = 0.1
MIN_FAILED = 10  # streams: fewer are stray failures
FD_SETSIZE = 1024.0  # descriptors that select(2) can watch; those above make it fail (man 2 select)
SELECT_SLACK = 4.0  # descriptors that a service may close before it is read
SELECT = "it had about 1,024 descriptors, the most that select() can watch: poll() or epoll watches more"
OWN_CAUSES = ("cancelled", "generator-limit", "worker-lost")  # failures of the harness (harness.http.causes)


def was_given_up(observation: Observation) -> bool:
    """Whether the service stopped serving during a load.

    It answered none of the streams, or hardly any after the first failure, or the load was ended because every stream
    failed for several seconds. The last is needed for a pool whose workers block one by one: 47 streams were still
    answered while 303 failed."""
    ledger = observation.ledger
    if not ledger.opened or observation.spec.fault or observation.spec.phase in (Phase.SEARCH, Phase.HOLD):
        return False
    failed = _failed(ledger)
    if failed < MIN_FAILED or not failures(ledger):
        return False
    if answered(ledger) <= MAX_ANSWERED_SHARE * ledger.opened:
        return True
    if any(note.kind is NoteKind.LOAD_GIVEN_UP for note in ledger.notes):
        return True
    cut = any(note.kind is NoteKind.LOAD_CUT_SHORT for note in ledger.notes)
    return cut and ledger.first_failure != "" and ledger.answered_after_failure <= MAX_ANSWERED_AFTER * failed


def _failed(ledger: Ledger) -> int:
    own = sum(ledger.causes.get(cause, 0) for cause in OWN_CAUSES)
    return max(ledger.failed - ledger.rate_limited, ledger.unanswered) - own


def _loads(trial: Trial) -> list[Observation]:
    """The observations with clients."""
    return [o for o in trial.observations if o.ledger.opened]


def last_load(trial: Trial) -> Observation | None:
    """The last observation with clients."""
    return next(reversed(_loads(trial)), None)


def recovery(load: Observation) -> float:
    """Seconds without clients after which a service that gave up during this load is asked again."""
    return RECOVERY_OF_LISTENER if _happened(load) == REFUSED else RECOVERY


def _happened(load: Observation) -> str:
    """What most clients of a load got instead of an answer."""
    found = failures(load.ledger)
    return max(found, key=lambda what: (found[what], what), default="")


def was_retried(trial: Trial) -> bool:
    """Whether the last load gave up as well, although the service had been left alone since one before it."""
    loads = _loads(trial)
    if len(loads) < 2 or not was_given_up(loads[-1]):
        return False
    for before, after in zip(reversed(loads[:-1]), reversed(loads[1:]), strict=True):
        if not was_given_up(before):
            return False
        if after.started - (before.load_ended or before.ended) >= recovery(before):
            return True
    return False


def stopped_serving(trial: Trial) -> str | None:
    """Why a service that served at first counts as stalled; None if it served again, or was not asked again."""
    if not was_retried(trial):
        return None
    served = sum(answered(o.ledger) for o in trial.observations)
    loads = _loads(trial)
    since = len(loads)
    while since > 1 and was_given_up(loads[since - 2]):
        since -= 1
    first = loads[since - 1]
    if served <= 0:
        return None
    gap = loads[-1].started - (first.load_ended or first.ended)
    after = counted(served, "answered stream", ",.0f")
    text = f"{_happened(loads[-1])} after {after}, and still {gap:.0f} s later, while the process was running"
    return f"{text}; {SELECT}" if _at_limit_of_select(trial) else text


def advice_of(trial: Trial) -> str:
    """The next step for a service that stopped serving; empty for any other, or where only silence was seen."""
    happened = _happened(_loads(trial)[-1]) if was_retried(trial) else ""
    if happened == REFUSED:
        return (
            "read the end of the service's log: an exception may have ended the loop that accepts connections"
        )
    return (
        "read the end of the service's log: it may say why every request fails"
        if "status" in happened
        else ""
    )


def _at_limit_of_select(trial: Trial) -> bool:
    """Whether the service had about as many descriptors as select(2) can watch when it gave up, and was allowed more: a
    limit of 1,024 open files, which many systems set, is another cause."""
    if trial.target.limits.get("RLIMIT_NOFILE", math.inf) <= FD_SETSIZE + SELECT_SLACK:
        return False
    most = max((o.levels.get(Key("fds"), 0.0) for o in trial.observations), default=0.0)
    return abs(most - FD_SETSIZE) <= SELECT_SLACK


def withstood(trial: Trial) -> float:
    """Connections of a load that the service can surely serve: half of what it answered in one during which it gave up
    and from which it recovered. Infinite if it never gave up."""
    loads = _loads(trial)
    broke = [o for o, after in pairwise(loads) if was_given_up(o) and not was_given_up(after)]
    return min((answered(o.ledger) / 2 for o in broke), default=math.inf)
