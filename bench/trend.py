"""False alarms and delays of the change-point test, beside Otava's method and the comparison with the run before.

``python -m bench.trend`` simulates stable histories of 30 to 400 runs (one a night) and histories with a step, and
writes docs/trend.md. Every figure in that page comes from the run that wrote it.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench._trend_page import page
from bench._trend_rivals import otava, previous
from harness.core.stats.changepoint import RateEstimate, changes

PAGE = Path(__file__).parents[1] / "docs" / "trend.md"
LENGTHS = (30, 60, 120, 200, 400)
ALLOWED = 1.0  # false alarms per 1,000 stable nights
ERROR = 0.5  # standard error of the interval of one night, for a standard deviation between nights of 1
BEFORE = (30, 60, 100)
GOALS = ((1.0, 10), (2.0, 4), (3.0, 2))
OTAVA = "Otava's method"
Series = list[float]


def normal(rng: random.Random, n: int, phi: float = 0.0) -> Series:
    """Noise of standard deviation 1 with autocorrelation phi^k after k nights."""
    value, found = rng.gauss(0, 1), []
    for _ in range(n):
        found.append(value)
        value = phi * value + math.sqrt(1 - phi * phi) * rng.gauss(0, 1)
    return found


def wave(rng: random.Random, n: int, period: float, size: float) -> Series:
    """Noise on a sine of random phase."""
    phase = rng.random() * period
    noise = normal(rng, n)
    return [v + size * math.sin(2 * math.pi * (i + phase) / period) for i, v in enumerate(noise)]


def heavy(rng: random.Random, n: int) -> Series:
    """Student's t with 3 degrees of freedom, scaled to standard deviation 1: outliers of 5 and more."""
    return [v / math.sqrt(rng.gammavariate(1.5, 2.0)) for v in normal(rng, n)]


KINDS: dict[str, tuple[str, Callable[[random.Random, int], Series]]] = {
    "stable": ("independent normal noise", normal),
    "noisy": ("Student's t, 3 degrees of freedom", heavy),
    "AR(0.3)": ("autocorrelation 0.3", lambda rng, n: normal(rng, n, 0.3)),
    "AR(0.6)": ("autocorrelation 0.6", lambda rng, n: normal(rng, n, 0.6)),
    "drifting": ("1 σ in 100 runs", lambda rng, n: [v + 0.01 * i for i, v in enumerate(normal(rng, n))]),
    "weekly": ("sine of 7 runs, 1 σ", lambda rng, n: wave(rng, n, 7, 1.0)),
    "yearly": ("sine of 365 runs, 1.5 σ", lambda rng, n: wave(rng, n, 365, 1.5)),
}
METHODS: dict[str, Callable[[Sequence[float]], list[int]]] = {
    "ours": lambda values: [one.found for one in changes(rate_estimates(values))],
    OTAVA: otava,
    "previous run": lambda values: previous(rate_estimates(values)),
}


def rate_estimates(values: Sequence[float]) -> list[RateEstimate]:
    """Each night's figure with its interval."""
    half = 1.96 * ERROR
    return [RateEstimate(value, value - half, value + half) for value in values]


def false_alarms(kind: str, nights: int, rng: random.Random) -> dict[str, tuple[int, int]]:
    """Alarms and nights by method."""
    alarms = dict.fromkeys(METHODS, 0)
    done = 0
    while done < nights:
        values = KINDS[kind][1](rng, rng.choice(LENGTHS))
        done += len(values)
        for name, method in METHODS.items():
            alarms[name] += len(method(values))
    return {name: (count, done) for name, count in alarms.items()}


def delays(kind: str, size: float, goal: int, runs: int, rng: random.Random) -> dict[str, float]:
    """Share of steps found within the goal, by method; and ours within 60 nights and in the median."""
    hits = dict.fromkeys(METHODS, 0)
    waits: list[float] = []
    for _ in range(runs):
        before = rng.choice(BEFORE)
        noise = KINDS[kind][1](rng, before + 60)
        values = [value + (size if index >= before else 0.0) for index, value in enumerate(noise)]
        for name, method in METHODS.items():
            if name != "ours":
                # At most three nights before the step: a change point is placed about there.
                hits[name] += any(at >= before - 3 for at in method(values[: before + goal]))
        found = [one.found - before + 1 for one in changes(rate_estimates(values)) if one.found >= before]
        waits.append(found[0] if found else math.inf)
        hits["ours"] += waits[-1] <= goal
    shares = {name: count / runs for name, count in hits.items()}
    return {**shares, "median": statistics.median(waits), "late": sum(w <= 60 for w in waits) / runs}


def known(size: float, goal: int, rng: random.Random, runs: int) -> float:
    """The same for the best test there is when level, noise, size and independence are known: Shiryaev-Roberts for
    exactly this step, whose false alarms are one in 1,000 nights (Pollak 1985: least delay for its false alarms)."""
    threshold = 1000.0 * math.exp(-0.583 * size)  # Siegmund's correction for the overshoot
    hits = 0
    for _ in range(runs):
        value = 0.0
        for _ in range(100):
            value = (1 + value) * math.exp(size * rng.gauss(0, 1) - size * size / 2)
            value = 0.0 if value >= threshold else value
        for _ in range(goal):
            value = (1 + value) * math.exp(size * rng.gauss(size, 1) - size * size / 2)
            if value >= threshold:
                hits += 1
                break
    return hits / runs


def main() -> None:
    """Simulate, print, write; exit 1 when ours raises more false alarms than allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=40000, help="stable nights of each kind")
    parser.add_argument("--runs", type=int, default=300, help="steps of each size")
    parser.add_argument("--seed", type=int, default=20260301)
    parser.add_argument("--no-write", action="store_true")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    stable, bad = [], []
    for kind, (words, _) in KINDS.items():
        seen = false_alarms(kind, args.nights, rng)
        rates = {name: 1000 * count / done for name, (count, done) in seen.items()}
        count, done = seen["ours"]
        # Alarms of a process that keeps the goal exceed this number once in 1,000 simulations (normal limit).
        if count > ALLOWED * done / 1000 + 3.1 * math.sqrt(ALLOWED * done / 1000):
            bad.append(kind)
        stable.append(
            f"| {kind} | {words} | {done:,} | {rates['ours']:.2f} | {rates[OTAVA]:.1f} | "
            f"{rates['previous run']:.0f} |"
        )
        print(stable[-1], flush=True)
    found, goals = [], []
    for size, goal in GOALS:
        best = known(size, goal, rng, 20 * args.runs)
        goals.append((size, goal, best))
        for kind in ("stable", "noisy", "AR(0.6)"):
            seen_in = delays(kind, size, goal, args.runs, rng)
            median = "more than 60" if seen_in["median"] > 60 else f"{seen_in['median']:.0f}"
            found.append(
                f"| {size:g} σ | {goal} | {kind} | {seen_in['ours']:.0%} | {seen_in[OTAVA]:.0%} | "
                f"{seen_in['previous run']:.0%} | {median} | {seen_in['late']:.0%} | "
                f"{f'{best:.0%}' if kind == 'stable' else ''} |"
            )
            print(found[-1], flush=True)
    if not args.no_write:
        PAGE.write_text(page(stable, found, goals, args.nights, args.runs, args.seed), encoding="utf-8")
    if bad:
        print(f"more than {ALLOWED:g} false alarms in 1,000 nights: {', '.join(bad)}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
