"""The bounds of a pass as one line: how much of each metric can have stayed, per stream and per hour."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.verdict import Bound, Verdict
from harness.report.fact_lines import Fact
from harness.report.nouns import driver, in_bytes, quantity

WITH_TOTAL = ("fds", "processes")  # metrics whose kinds are a part of their total
# The order of bounds. Classes of descriptors are bounded by their total; other metrics follow in their own order.
FIRST_BOUNDS = (
    ("fds", ""), ("threads", ""), ("processes", ""), ("tasks", "asyncio-task"), ("tasks", "goroutine"),
    ("tasks", "handle"), ("memory", "objects"), ("memory", "heap-bytes"), ("memory", "external-bytes"),
    ("memory", "anonymous"),
)  # fmt: skip


def bounds_fact(verdict: Verdict, main: Bound | None) -> Fact | None:
    """The bounds of all metrics but ``main``, that of the headline, per stream and per hour; None without any."""
    shown = sorted(
        (
            bound
            for bound in verdict.bounds
            if bound is not main
            and bound.status != "observed"
            and bound.scope == "after-disconnect"
            and not (bound.kind and bound.metric in WITH_TOTAL)
        ),
        key=_bound_order,
    )
    per_stream = _amounts([bound for bound in shown if bound.per_stream])
    per_hour = _amounts([bound for bound in shown if not bound.per_stream])
    # Memory that is freed at the disconnect: a hold of 5 s says little of streams that last for days.
    connected = _amounts(
        [
            bound
            for bound in verdict.bounds
            if bound.scope == "while-connected" and in_bytes(bound.metric, bound.kind)
        ]
    )
    # The unit stands first, so that it is legible where a long line is cut; "at most", because "112 descriptors per
    # hour" reads as growth that was measured.
    parts = [
        f"per {driver(main.unit) if main else 'connection'} at most {per_stream}" if per_stream else "",
        f"per hour at most {per_hour}" if per_hour else "",
        f"per connected hour at most {connected}" if connected else "",
    ]
    return Fact("bounds", "; ".join(filter(None, parts))) if any(parts) else None


def _bound_order(bound: Bound) -> int:
    key = (bound.metric, bound.kind)
    return FIRST_BOUNDS.index(key) if key in FIRST_BOUNDS else len(FIRST_BOUNDS)


def _amounts(bounds: Sequence[Bound]) -> str:
    """``0.0009 threads or processes, 0.0011 objects``: an amount that several counts share is written once."""
    groups: list[list[str]] = []
    for bound in bounds:
        amount, _, name = quantity(bound.metric, bound.kind, bound.at_most).partition(" ")
        if groups and groups[-1][0] == amount and not in_bytes(bound.metric, bound.kind):
            groups[-1].append(name)
        else:
            groups.append([amount, name])
    return ", ".join(f"{amount} {_either(names)}" for amount, *names in groups)


def _either(names: Sequence[str]) -> str:
    """``threads, processes or handles``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
