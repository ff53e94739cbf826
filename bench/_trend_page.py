"""docs/trend.md, from the figures of one run of bench.trend."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from harness.core.stats.changepoint import THRESHOLD

HEAD = """
`harness trend` looks for lasting changes in each metric's rate from run to run, such as the runs of every night. This
page is written by `python -m bench.trend --nights {nights} --runs {runs} --seed {seed}`.
"""
DECIDES = """
After each run the test compares two explanations: a step at one of the last 12 runs, or none. Level, noise,
autocorrelation and a slow trend are unknown in both. It sums the likelihood ratios over the possible runs of the
step (a Shiryaev-Roberts statistic, or e-detector) and reports a change when the sum reaches {threshold:g}. A step must
last two runs. A run beyond four times the usual scatter counts as four times,
and two in a row as up to twelve times. A run whose interval is wider
than usual counts for less. The noise is never taken for less than the intervals say. After a change the test starts
afresh and needs six runs for the new level.
"""
ALARMS = """
Stable histories of 30 to 400 runs. The goal is at most one alarm in 1,000 runs of one metric. σ is the standard
deviation from run to run; each run's own interval is ± 0.98 σ.
"""
LIMIT = """
*Best possible* is a test that knows the level, the noise, the size of the step and that runs are independent, and
that raises one false alarm in 1,000 runs (Shiryaev-Roberts; Pollak 1985: no test with as few false alarms has a
smaller delay, but for a vanishing term). {limits}
"""
WHY = """
A run with a step of 1 σ carries 0.5 nats of evidence on average. One false alarm in 1,000 runs needs about
6.9 nats, so about 14 runs (Lorden 1971, before the overshoot). With autocorrelation of 0.6 a lasting step carries a
quarter of that in each run, so about 55 runs. The goal "1 σ within 10 runs, 3 σ within 2" can therefore not be met
for every step together with the goal for false alarms; the false alarms come first. A test that learns level, noise
and autocorrelation from 30 to 100 runs finds fewer still.
"""
OTAVA = """
Otava's method looks at the whole series and moves its change points as runs are added; its column counts change
points in finished series. It is bench/_trend_rivals.py, written from the published description; apache-otava 0.8.0
itself gave the same change points in 136 of 150 simulated series when the two were compared.
"""
LEAKS = """
Leaks are rarely near this limit: one descriptor per connection is hundreds of σ, and is found on the second run.
"""


def page(
    stable: Sequence[str],
    found: Sequence[str],
    goals: Sequence[tuple[float, int, float]],
    nights: int,
    runs: int,
    seed: int,
) -> str:
    """The page as Markdown."""
    limits = " ".join(
        f"A step of {size:g} σ within {goal} runs: {best:.0%} at best." for size, goal, best in goals
    )
    parts = [
        "# When did it change? The change-point test",
        _text(HEAD.format(nights=nights, runs=runs, seed=seed)),
        "## How it decides",
        _text(DECIDES.format(threshold=THRESHOLD)),
        "## False alarms",
        _text(ALARMS),
        "\n".join(
            [
                "| history | what it is | runs | ours, per 1,000 | Otava's method | previous run |",
                "|---|---|---|---|---|---|",
                *stable,
            ]
        ),
        "## Steps found",
        f"{runs} histories a row, with 30, 60 or 100 runs before the step.",
        "\n".join(
            [
                "| step | within runs | noise | ours | Otava's method | previous run | our median delay "
                "| ours within 60 | best possible |",
                "|---|---|---|---|---|---|---|---|---|",
                *found,
            ]
        ),
        "## What no test can do",
        _text(LIMIT.format(limits=limits)),
        _text(WHY),
        _text(OTAVA),
        _text(LEAKS),
    ]
    return "\n\n".join(parts) + "\n"


def _text(words: str) -> str:
    return textwrap.fill(" ".join(words.split()), 116)
