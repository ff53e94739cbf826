"""``harness baseline accept``: budgets from a run that was found good, and what that loosens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import tomlkit

from harness.config import BUDGETS, find, load
from harness.core.budget import Budget
from harness.core.budget_file import BudgetFile
from harness.core.errors import ConfigError
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.store.run_dir import RunDirectory
from harness.store.write import replace_file

MARGIN = 1.2  # a ceiling is so much above the highest level of the accepted run
TOTALS = (Key("fds"), Key("threads"), Key("processes"), Key("memory", "anonymous"))
PER = {"connection": ("growth", 1.0), "event": ("per_event", 1.0), "time": ("per_hour", 3600.0)}
WORD = {"growth": "connection", "per_event": "event", "per_hour": "hour"}
ACCEPTED = (Outcome.BOUNDED, Outcome.LEAKING, Outcome.OVER_CEILING)


@click.group("baseline", short_help="budgets from an accepted run")
def command() -> None:
    """Accepted runs as the measure of later ones."""


@command.command("accept")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--budget", "file", type=click.Path(path_type=Path), metavar="FILE", help="[default: budgets.toml]"
)
@click.option("--profile", metavar="NAME", help="Write into [profile.NAME] instead of [budget].")
@click.option("--dry-run", is_flag=True, help="Say what would change, and write nothing.")
def accept(run: Path, file: Path | None, profile: str | None, dry_run: bool) -> None:
    """Write what RUN grew by, and ceilings just above its levels, into the budget file; comments stay.

    Each change is said, and whether it loosens. A run of several trials writes a profile for each.
    """
    trials = RunDirectory.open(run).record().trials
    path = file or find(Path.cwd()) or Path(BUDGETS)
    if path.name == "pyproject.toml":
        raise ConfigError(f"{path}: expected a {BUDGETS} to write to: give --budget FILE")
    known = load(path) if path.exists() else BudgetFile(str(path))
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    for trial in trials:
        name = profile or (trial.name if len(trials) > 1 else None)
        old = known.common if name is None else known.profiles.get(name, Budget())
        changes = _changes(old, budget_of(trial))
        where = "[budget]" if name is None else f"[profile.{name}]"
        for table, key, before, after in changes:
            click.echo(f"{where} {_say(table, key, before, after)}")
        if not changes:
            click.echo(f"{where} nothing changes")
        _write(document, name, changes)
    if not dry_run:
        replace_file(path, tomlkit.dumps(document).encode())
        load(path)
        click.echo(f"wrote {path}")


def budget_of(trial: Trial) -> Budget:
    """What a run grew by (upper end of the interval) and ceilings above its levels. Raises ConfigError for a
    run that proves nothing."""
    verdict = trial.verdict
    if verdict is None or verdict.outcome not in ACCEPTED:
        outcome = verdict.outcome.value if verdict else "not judged"
        raise ConfigError(
            f"trial {trial.name!r} is {outcome}; expected one that is bounded, leaking or over-ceiling"
        )
    made: dict[str, dict[str, float]] = {"growth": {}, "per_event": {}, "per_hour": {}, "ceilings": {}}
    for finding in verdict.findings:
        if finding.rate is None:
            continue
        if finding.driver not in PER:
            raise ConfigError(
                f"trial {trial.name!r}: {finding.metric} grows per {finding.driver}, which no budget can grant; "
                "expected growth per connection, event or hour: mend it"
            )
        table, factor = PER[finding.driver]
        key = f"{finding.metric}/{finding.kind}" if finding.kind else finding.metric
        made[table][key] = _up(finding.rate.high * factor)
    for total in TOTALS:
        levels = [o.levels[total] for o in trial.observations if total in o.levels]
        if levels:
            made["ceilings"][str(total)] = float(math.ceil(MARGIN * max(levels)))
    return Budget(**made)


def _up(value: float) -> float:
    """Rounded up to two digits, so that the same run passes."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.6g}")


def _changes(old: Budget, new: Budget) -> list[tuple[str, str, float | None, float]]:
    found: list[tuple[str, str, float | None, float]] = []
    for table in ("growth", "per_event", "per_hour", "ceilings"):
        before, after = getattr(old, table), getattr(new, table)
        found += [
            (table, key, before.get(key), value) for key, value in after.items() if before.get(key) != value
        ]
    return found


def _say(table: str, key: str, before: float | None, after: float) -> str:
    limit = table == "ceilings"
    met = (math.inf if limit else 0.0) if before is None else before
    word = "LOOSENS" if after > met else "tightens"
    shown = "none" if before is None else f"{before:g}"
    what = f"ceiling of {key}" if limit else f"{key} per {WORD[table]}"
    return f"{what}: {shown} -> {after:g} ({word})"


def _write(document: Any, profile: str | None, changes: list[tuple[str, str, float | None, float]]) -> None:
    if not changes:
        return
    table = document.setdefault("budget", tomlkit.table())
    if profile is not None:
        table = document.setdefault("profile", tomlkit.table(is_super_table=True)).setdefault(
            profile, tomlkit.table()
        )
    for kind, key, _, value in changes:
        number = int(value) if value == int(value) else value
        if kind == "ceilings":
            table.setdefault("ceilings", tomlkit.table())[key] = number
            continue
        texts = table.get(key, [])
        kept = [
            text for text in ([texts] if isinstance(texts, str) else texts) if not _is_per(text, WORD[kind])
        ]
        made = [*map(str, kept), f"{number}/{WORD[kind]}"]
        table[key] = made[0] if len(made) == 1 else made


def _is_per(text: str, word: str) -> bool:
    return text.strip().removesuffix("s").endswith(word)
