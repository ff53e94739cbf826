"""``harness baseline accept``: budgets from a run that was found good, and what that loosens."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from pathlib import Path

import click
import tomlkit

from harness.cli.baseline_file import Change, write
from harness.config import BUDGETS, find, load, loads
from harness.core.budget import Budget, laid_over
from harness.core.budget_file import BudgetFile
from harness.core.errors import ConfigError
from harness.core.metric import Key
from harness.core.record import RunRecord, Trial
from harness.core.units import nearest
from harness.core.verdict import Outcome
from harness.store.run_dir import RunDirectory
from harness.store.write import replace_file

MARGIN = 1.2  # a ceiling is so much above the highest level of the accepted run
GRACE = datetime.timedelta(days=90)  # until an accepted growth fails again
TOTALS = (Key("fds"), Key("threads"), Key("processes"), Key("memory", "anonymous"))
PER = {"connection": ("growth", 1.0), "event": ("per_event", 1.0), "time": ("per_hour", 3600.0)}
ACCEPTED = (Outcome.BOUNDED, Outcome.LEAKING, Outcome.OVER_CEILING)


@click.group("baseline", short_help="budgets from an accepted run")
def command() -> None:
    """Accepted runs as the measure of later ones."""


@command.command("accept")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--budget",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="[default: budgets.toml or [tool.harness], here or above; else a new budgets.toml]",
)
@click.option("--trial", "only", metavar="NAME", help="Only this one of several trials.")
@click.option("--profile", metavar="NAME", help="Write into [profile.NAME] instead of [budget].")
@click.option("--dry-run", is_flag=True, help="Say what would change, and write nothing.")
def accept(run: Path, file: Path | None, only: str | None, profile: str | None, dry_run: bool) -> None:
    """Write what RUN grew by, and ceilings just above its levels, into the budget file; comments stay.

    Each change is said, and whether it loosens. Growth that is not granted yet becomes an [[exception]] that
    ends in 90 days; its reason is yours to write. A run of several trials writes a profile for each.
    """
    record = RunDirectory.open(run).record()
    trials = _chosen(record, only)
    if profile is not None and len(trials) > 1:
        raise ConfigError(
            f"--profile {profile!r}: {run} has {len(trials)} trials, and each would replace the one before; "
            f"expected --trial NAME with it, one of {', '.join(trial.name for trial in trials)}"
        )
    path = file or find(Path.cwd()) or Path(BUDGETS)
    known = load(path) if path.exists() else BudgetFile(str(path))
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    last_day = datetime.datetime.now().astimezone().date() + GRACE
    for trial in trials:
        name = profile or (trial.name if len(record.trials) > 1 else None)
        changes = changes_of(granted(known, name), budget_of(trial))
        where = "[budget]" if name is None else f"[profile.{name}]"
        for change in changes:
            until = f", as an exception until {last_day}" if change.is_exception else ""
            click.echo(f"{where} {change.say()}{until}")
        if not changes:
            click.echo(f"{where} nothing changes")
        write(
            document, path, name, changes, reason=f"TODO: why? accepted from {record.run_id}", until=last_day
        )
    text = tomlkit.dumps(document)
    loads(path, text)
    if not dry_run:
        replace_file(path, text.encode())
        click.echo(f"wrote {path}")


def _chosen(record: RunRecord, only: str | None) -> Sequence[Trial]:
    names = [trial.name for trial in record.trials]
    if only is not None and only not in names:
        raise ConfigError(
            f"--trial {only!r}: not in this run; expected one of {', '.join(names)}{nearest(only, names)}"
        )
    return [trial for trial in record.trials if only in (None, trial.name)]


def granted(file: BudgetFile, profile: str | None) -> Budget:
    """What a file grants to every endpoint now: its table and the exceptions that hold there."""
    budget = file.common
    if profile is not None:
        budget = laid_over(budget, file.profiles.get(profile, Budget()))
    for one in file.exemptions:
        if one.endpoint is None and one.profile in (None, profile):
            budget = laid_over(budget, one.budget)
    return budget


def budget_of(trial: Trial) -> Budget:
    """What a run grew by (upper end of the interval) and ceilings above its levels. Raises ConfigError for a
    run that proves nothing."""
    verdict = trial.verdict
    if verdict is None or verdict.outcome not in ACCEPTED:
        outcome = verdict.outcome.value if verdict else "not judged"
        raise ConfigError(
            f"trial {trial.name!r} is {outcome}; expected one that is bounded, leaking or over-ceiling "
            "(of several, --trial NAME takes one)"
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


def changes_of(old: Budget, new: Budget) -> list[Change]:
    """What must be written so that ``new`` is granted. Growth that is granted already stays as it is."""
    found: list[Change] = []
    for table in ("growth", "per_event", "per_hour", "ceilings"):
        before, after = getattr(old, table), getattr(new, table)
        for key, value in after.items():
            change = Change(table, key, before.get(key), value)
            if before.get(key) != value and (table == "ceilings" or change.loosens):
                found.append(change)
    return found
