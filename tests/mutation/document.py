"""docs/mutation.md from the kept figures: the score of each package and every survivor with its reason."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.mutation.selection import TESTS

SCORES = "docs/mutation.json"
REASONS = Path(__file__).with_name("reasons.toml")
GOALS = {package: 85 if package == "harness/core" else 75 for package in TESTS}  # percent
NORMAL = 1.959964  # standard deviations that hold 95 % of a normal distribution
NO_REASON = "no test distinguishes it yet"

Scores = Mapping[str, Mapping[str, Any]]
"""package → its figures: mutants, tried, killed, seed, survivors; first: those of its first measurement."""
FIRST = ("tried", "killed", "seed")


def interval(killed: int, tried: int) -> tuple[float, float]:
    """The 95 % interval of a share that was measured on a sample, in percent: Wilson's score interval."""
    if not tried:
        return 0.0, 100.0
    share, square = killed / tried, NORMAL * NORMAL
    middle = (share + square / (2 * tried)) / (1 + square / tried)
    half = NORMAL / (1 + square / tried) * math.sqrt(share * (1 - share) / tried + square / (4 * tried**2))
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def kept(scores: Scores, package: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a package as they are kept: beside them those of its first measurement, which later ones
    improved on by tests that its survivors asked for."""
    first = scores.get(package, {}).get("first") or {name: found[name] for name in FIRST}
    return {**found, "first": first}


def summary(scores: Scores) -> tuple[list[str], list[str]]:
    """A line for each package, and the packages below their goal."""
    lines, below = [], []
    for package, one in scores.items():
        tried, killed = one["tried"], one["killed"]
        percent = 100 * killed / tried if tried else 100.0
        low, high = interval(killed, tried)
        lines.append(
            f"{package}: {percent:.0f} % ({low:.0f}-{high:.0f} %) of {tried} mutants noticed "
            f"(goal {GOALS[package]} %), of {one['mutants']} that exist"
        )
        if percent < GOALS[package]:
            below.append(package)
    return lines, below


def reasons() -> dict[str, dict[str, str]]:
    """path → change → why no test notices it."""
    return tomllib.loads(REASONS.read_text()) if REASONS.exists() else {}


def page(scores: Scores) -> str:
    """The whole page."""
    known = reasons()
    lines = [
        "# Mutation score",
        "",
        "`make mutation` changes one detail of the source at a time and runs the fast tests that execute the changed",
        "line. A mutant that no test notices survives. The nightly workflow draws a seeded sample of each package;",
        "`make mutation ARGS='harness/core/units.py --sample 1000'` tries every mutant of one module. Texts are not",
        "mutated, nor are annotations, imports, decorators and assertions. The first samples were tried on 80 tests a",
        "mutant, and not on those that start the package as a process. Later ones are tried on up to 300, with the",
        "pinned decisions of `make test-long` before all that are not the module's own.",
        "",
        "Every mutant of a package has the same chance to be drawn. The interval holds the score of all mutants with",
        "95 % confidence (Wilson). The first score is that of the first sample; the tests that its survivors asked for",
        "came later. The sample of the core between the first and the present one had 80 % (48 of 60, seed 2).",
        "`python -m tests.mutation --write` writes this page.",
        "",
        "| package | mutants | tried | seed | noticed | score | 95 % interval | first score | goal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for package, one in sorted(scores.items()):
        tried, killed = one["tried"], one["killed"]
        low, high = interval(killed, tried)
        score = f"{100 * killed / tried:.0f} % | {low:.0f}–{high:.0f} %" if tried else "– | –"
        lines.append(
            f"| `{package}` | {one['mutants']} | {tried} | {one['seed']} | {killed} | {score} | {_first(one)} "
            f"| {GOALS[package]} % |"
        )
    lines += ["", "## Survivors", ""]
    left = [each for one in scores.values() for each in one["survivors"]]
    for path, survivors in groupby(
        sorted(left, key=lambda each: (each["path"], each["line"])), lambda each: each["path"]
    ):
        lines += [f"### `{path}`", ""]
        for survivor in survivors:
            change = survivor["change"].replace("`", "'")
            why = known.get(path, {}).get(survivor["change"], NO_REASON)
            lines.append(f"- line {survivor['line']}: `{change}`: {why}")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _first(one: Mapping[str, Any]) -> str:
    first = one.get("first") or one
    if not first["tried"]:
        return "–"
    share = 100 * first["killed"] / first["tried"]
    return f"{share:.0f} % of {first['tried']} (seed {first['seed']})"
