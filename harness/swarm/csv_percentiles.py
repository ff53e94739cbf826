"""Percentiles of Locust's CSV files, with their fractions.

Locust 2 truncates them with ``int()``: those of a connect to a local service become 0, below their own median.
"""

from __future__ import annotations

from typing import Any

from locust.stats import StatsCSV


def with_fractions(self: Any, entry: Any, use_current: bool = False) -> list[Any]:
    """``StatsCSV._percentile_fields`` without its ``int()``; whole milliseconds are written as whole numbers."""
    if not entry.num_requests:
        return list(self.percentiles_na)
    # The same choice as in the original: a line of the history shows the last ten seconds, the summary the whole run.
    current = use_current and entry.use_response_times_cache
    read = entry.get_current_response_time_percentile if current else entry.get_response_time_percentile
    times = [read(share) or 0 for share in self.percentiles_to_report]
    return [int(time) if time == int(time) else time for time in times]


def install() -> None:
    """Replace the method for every CSV writer of this process."""
    StatsCSV._percentile_fields = with_fractions  # type: ignore[assignment]
