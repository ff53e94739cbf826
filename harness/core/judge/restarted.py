"""The results of a resumed soak, whose service ran in several processes.

A new process starts with new levels. So each process is judged by itself (``harness.core.segments``), and the
results are merged: growth that is
certain in one process is a leak, and streams without growth add up to one bound. Nothing is inferred across a restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.core.judge.assessed import Assessed
from harness.core.units import counted


def merged(each: Sequence[Assessed], *, sensitivity: float, certified: bool) -> Assessed:
    """One result from those of several processes, oldest first. certified: its bound decides whether a run passes, so
    that the streams of all processes are to count for it."""
    if leaking := [one for one in each if one.status == "leaking"]:
        return max(leaking, key=lambda one: one.exposure)
    if open_ := [
        one for index, one in enumerate(each) if _open(one) and not _settled_by(each[index + 1 :], one)
    ]:
        return open_[-1]
    best = max(each, key=lambda one: one.exposure)
    with_bound = [one for one in each if math.isfinite(one.at_most) and one.at_most > 0]
    if not (certified and with_bound and all(one.total <= 0 for one in each)):
        return best
    # The rule of three: each bound is 3 / streams, and the streams add up.
    at_most = 1 / math.fsum(1 / one.at_most for one in with_bound)
    streams = math.fsum(one.exposure for one in each)
    why = f"no growth over {counted(streams, 'answered stream', ',.0f')} of {counted(len(each), 'process')}"
    status = "bounded" if at_most <= sensitivity else "undecided"
    if status == "undecided":
        why += f" allows at most {at_most:.2g}, asked for {sensitivity:.2g}"
    return replace(best, status=status, at_most=at_most, why=why, exposure=streams, growing=False)


def outlived(whole: Assessed, each: Sequence[Assessed]) -> Assessed | None:
    """Growth that is certain only over all processes together. each: what the idle stretches of each process say of
    it. None if one of them saw a release: then a process may have exited before a release."""
    if whole.status != "leaking" or not each or any(one.release for one in each):
        return None
    if late := [one for one in each if one.status == "leaking"]:
        return replace(whole, idle_evidence=late[-1].idle_evidence)
    return replace(whole, status="suspected", growing=True, idle_evidence=each[-1].idle_evidence)


def _open(one: Assessed) -> bool:
    return one.growing or one.status == "suspected"


def _settled_by(later: Sequence[Assessed], one: Assessed) -> bool:
    """Whether a later process passed with at least as many streams."""
    return any(other.status == "bounded" and other.exposure >= one.exposure for other in later)
