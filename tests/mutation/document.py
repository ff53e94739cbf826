"""docs/mutation.md from the kept figures: the score of each package and every survivor with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.mutation.selection import TESTS, package_of

SCORES = "docs/mutation.json"
REASONS = Path(__file__).with_name("reasons.toml")
GOALS = {package: 85 if package == "harness/core" else 75 for package in TESTS}  # percent

Scores = Mapping[str, Mapping[str, Any]]


def totals(scores: Scores) -> dict[str, tuple[int, int, int]]:
    """package → (mutants that exist, tried, noticed)."""
    found: dict[str, tuple[int, int, int]] = {}
    for path, one in scores.items():
        package = package_of(path)
        exist, tried, killed = found.get(package, (0, 0, 0))
        found[package] = (exist + one["mutants"], tried + one["tried"], killed + one["killed"])
    return found


def summary(scores: Scores) -> tuple[list[str], list[str]]:
    """A line for each package, and the packages below their goal."""
    lines, below = [], []
    for package, (exist, tried, killed) in totals(scores).items():
        percent = 100 * killed / tried if tried else 100.0
        lines.append(
            f"{package}: {percent:.0f} % of {tried} mutants noticed (goal {GOALS[package]} %), of {exist} that exist"
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
        "line. A mutant that no test notices survives. The nightly workflow tries a seeded sample of each module;",
        "`make mutation ARGS='harness/core/units.py --sample 1000'` tries every mutant of one. Texts are not mutated,",
        "nor are annotations, imports, decorators and assertions. `python -m tests.mutation --write` writes this page.",
        "",
        "| package | modules | mutants | tried | noticed | score | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for package, (exist, tried, killed) in sorted(totals(scores).items()):
        count = sum(package_of(path) == package for path in scores)
        score = f"{100 * killed / tried:.0f} %" if tried else "–"
        lines.append(
            f"| `{package}` | {count} | {exist} | {tried} | {killed} | {score} | {GOALS[package]} % |"
        )
    lines += ["", "## Survivors", ""]
    for path, one in sorted(scores.items()):
        if not one["survivors"]:
            continue
        lines += [f"### `{path}`: {one['killed']} of {one['tried']} noticed", ""]
        for survivor in one["survivors"]:
            change = survivor["change"].replace("`", "'")
            why = known.get(path, {}).get(survivor["change"], "no test distinguishes it yet")
            lines.append(f"- line {survivor['line']}: `{change}`: {why}")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"
