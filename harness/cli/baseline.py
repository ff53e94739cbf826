"""``harness baseline accept``: writes budgets from an accepted run, and reports which of them are looser."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import tomlkit

from harness.cli.baseline_file import Change, Reason, Scope, write
from harness.cli.saved import saved_record
from harness.cli.service_options import path_of
from harness.cli.streams import safe_line
from harness.config import BUDGETS, find, loads, read
from harness.core.applied_budget import applicable_budget
from harness.core.budget import Budget, line_for
from harness.core.budget_file import BudgetFile
from harness.core.errors import ConfigError
from harness.core.judge import connected_findings
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import RunRecord, Trial
from harness.core.units import did_you_mean
from harness.core.verdict import Outcome
from harness.experiment.reports import uncovered
from harness.store.write import replace_file

MARGIN = 1.2  # times the highest level of the accepted run, for a ceiling
MAX_ROUNDS = 5  # repetitions until growth that other growth had hidden is granted too
GRACE = datetime.timedelta(days=90)  # after which accepted growth fails again
TOTALS = (Key("fds"), Key("threads"), Key("processes"), Key("memory", "anonymous"))
GRANTED = ("growth", "per_event", "per_hour", "per_connected_hour", "ceilings")
# Driver of a finding → the table of a Budget for it, and by what a rate is multiplied there: those over time are per
# second.
TABLES = {"connection": ("growth", 1.0), "event": ("per_event", 1.0), "time": ("per_hour", 3600.0)}
ACCEPTED = (Outcome.BOUNDED, Outcome.LEAKING, Outcome.OVER_CEILING)


@click.group("baseline", short_help="write budgets from an accepted run")
def command() -> None:
    """Write budgets from an accepted run."""


@command.command("accept", short_help="write the growth and levels of RUN into the budget file")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--budget",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="[default: budgets.toml or [tool.harness], here or above; else a new budgets.toml]",
)
@click.option("--trial", "only", metavar="NAME", help="Accept only this one of several trials.")
@click.option("--profile", metavar="NAME", help="Write into [profile.NAME] [default: the run's].")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
def accept(run: Path, file: Path | None, only: str | None, profile: str | None, dry_run: bool) -> None:
    """Write what RUN grew by, and ceilings just above its levels, into the budget file; comments stay.

    Every change is printed, with whether it loosens the budget. Growth that is not allowed yet becomes an
    [[exception]] that expires in 90 days; write its reason by hand. The run is then judged again: exit code 1 means
    that it still fails. The budgets apply to the profile of the run and, if the file distinguishes endpoints, to its
    endpoints. A run of several trials writes a profile for each.
    """
    record = saved_record(run)
    trials = _chosen(record, only)
    if profile is not None and len(trials) > 1:
        raise ConfigError(
            f"--profile {profile!r}: {run} has {len(trials)} trials, and each would replace the one before; "
            f"expected --trial NAME as well, one of {', '.join(trial.name for trial in trials)}"
        )
    path = file or find(Path.cwd()) or Path(BUDGETS)
    text = read(path) if path.exists() else ""
    # Before anything is changed: only here does an error name a line of the user's own file.
    if text:
        loads(path, text)
    document = tomlkit.parse(text)
    today = datetime.datetime.now().astimezone().date()
    failed = 0
    for trial in trials:
        known = loads(path, tomlkit.dumps(document)) if path.exists() else BudgetFile(str(path))
        name = profile or (trial.name if len(record.trials) > 1 else asked_profile(trial))
        scope = Scope.of(known, paths_of(trial), name)
        reason = Reason(f"TODO: why? accepted from {record.run_id}", today + GRACE)
        again = _accept(document, path, scope, trial, reason, today)
        click.echo(safe_line(f"{scope.text()} {_effect(again)}"))
        for one in uncovered(again):
            click.echo(safe_line(f"{scope.text()} {one}"))
        failed = max(failed, _failure(again))
    text = tomlkit.dumps(document)
    if not dry_run:
        replace_file(path, text.encode())
        click.echo(safe_line(f"wrote {path}"))
    if failed:
        raise click.exceptions.Exit(failed)


def _accept(
    document: Any, path: Path, scope: Scope, trial: Trial, reason: Reason, today: datetime.date
) -> Trial:
    """Allow the growth of a trial until it is within its budgets; returns the trial as judged at the end.

    Growth that was judged as a part of other growth is a finding of its own once the other is allowed.
    """
    printed = False
    for _ in range(MAX_ROUNDS):
        known = loads(path, tomlkit.dumps(document)) if path.exists() or printed else BudgetFile(str(path))
        changes = changes_of(granted(known, scope, today), budget_of(trial))
        for change in changes:
            until = f", as an exception until {reason.until}" if change.is_exception else ""
            click.echo(safe_line(f"{scope.text(change)} {change.text()}{until}"))
        if changes:
            write(document, path, scope, changes, reason)
            known = loads(path, tomlkit.dumps(document))
        elif not printed:
            click.echo(safe_line(f"{scope.text()} nothing changes"))
        printed = True
        trial = replace(trial, budget=granted(known, scope, today))
        trial = replace(trial, verdict=judge(trial))
        if not changes or trial.verdict is None or trial.verdict.outcome is not Outcome.LEAKING:
            break
    return trial


def _failure(trial: Trial) -> int:
    """The exit code for a run that fails even under the budgets made from it."""
    if trial.verdict is None or trial.verdict.outcome in (Outcome.BOUNDED, Outcome.INCONCLUSIVE):
        return 0
    return trial.verdict.exit_code


def paths_of(trial: Trial) -> tuple[str, ...]:
    """The paths that a run loaded."""
    seen = dict.fromkeys(path for one in trial.observations for path in one.spec.paths)
    return tuple(seen) or (path_of(trial.target.url),)


def asked_profile(trial: Trial) -> str | None:
    """The ``--profile`` of the run."""
    return trial.about.budget_profile or None


def _chosen(record: RunRecord, only: str | None) -> Sequence[Trial]:
    names = [trial.name for trial in record.trials]
    if only is not None and only not in names:
        raise ConfigError(
            f"--trial {only!r}: not in this run; expected one of {', '.join(names)}{did_you_mean(only, names)}"
        )
    return [trial for trial in record.trials if only in (None, trial.name)]


def granted(file: BudgetFile, scope: Scope, today: datetime.date) -> Budget:
    """The budget that the file grants such a run now. An expired exception allows nothing, so it may be renewed."""
    valid = tuple(one for one in file.exemptions if one.expires >= today)
    # A profile that does not exist yet allows nothing.
    profile = scope.profile if scope.profile in file.profiles else None
    return applicable_budget(
        replace(file, exemptions=valid), endpoints=scope.paths, profile=profile, today=today
    )[0]


def _effect(trial: Trial) -> str:
    """The result of the run with the new budgets, as a sentence."""
    again = trial.verdict
    assert again is not None
    if again.outcome is Outcome.BOUNDED:
        return "with these budgets the run is bounded"
    if again.outcome is Outcome.INCONCLUSIVE:
        return "the run exceeds none of these budgets, but it is too short to pass"
    return f"with these budgets the run is still {again.outcome.value}: {again.explanation}"


def budget_of(trial: Trial) -> Budget:
    """The growth of a run (upper end of the interval), and ceilings above its levels. Raises ConfigError for
    a run without a usable verdict."""
    verdict = trial.verdict
    if verdict is None or verdict.outcome not in ACCEPTED:
        outcome = verdict.outcome.value if verdict else "not judged"
        raise ConfigError(
            f"trial {trial.name!r} is {outcome}; expected one that is bounded, leaking or over-ceiling "
            "(of several, --trial NAME takes one)"
        )
    made: dict[str, dict[str, float]] = {table: {} for table in GRANTED}
    made["per_connected_hour"] = {
        str(key): _round_up(amount) for key, amount in connected_findings.hourly(trial).items()
    }
    for finding in verdict.findings:
        if finding.rate is None or finding.scope == connected_findings.SCOPE:
            continue
        if finding.driver not in TABLES:
            raise ConfigError(
                f"trial {trial.name!r}: {finding.metric} grows per {finding.driver}, which no budget can allow; "
                "expected growth per connection, event or hour: fix the leak"
            )
        table, factor = TABLES[finding.driver]
        key = f"{finding.metric}/{finding.kind}" if finding.kind else finding.metric
        made[table][key] = _round_up(finding.rate.high * factor)
    for total in TOTALS:
        levels = [o.levels[total] for o in trial.observations if total in o.levels]
        if levels:
            made["ceilings"][str(total)] = float(math.ceil(MARGIN * max(levels)))
    return Budget(**made)


def _round_up(value: float) -> float:
    """Rounded up to two digits, so that the same run passes."""
    if value <= 0:
        return 0.0
    # The billionth absorbs the error of the division: 0.14 / 0.01 is 14.000000000000002, but must not become 0.15.
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.6g}")


def changes_of(old: Budget, new: Budget) -> list[Change]:
    """The changes after which ``new`` is allowed. Growth that is allowed already stays as it is."""
    found: list[Change] = []
    for table in GRANTED:
        before, after = getattr(old, table), getattr(new, table)
        for key, value in after.items():
            # The entry of a metric covers its kinds in the same unit.
            met = before.get(key) if table == "ceilings" else line_for(before, Key.parse(key))
            change = Change(table, key, met, value)
            if met != value and (table == "ceilings" or change.loosens):
                found.append(change)
    return found
