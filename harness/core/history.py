"""A run as the history stores it: what was measured, and what makes two runs comparable.

Pure: an entry is made from the saved record alone, so a run can be added to the history later.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import WORST_EXIT_FIRST
from harness.core.judge.counts import assess_counts
from harness.core.judge.memory import MEMORY
from harness.core.judge.moments import Series, moments, series
from harness.core.judge.rates import interval
from harness.core.metric import Judged, Key
from harness.core.record import RunRecord, Trial
from harness.core.record_codec import to_dict
from harness.core.stats.distributions import ratio_interval
from harness.core.verdict import Outcome

# Programs that run the service: the word after one of them names it. A version may follow, as in python3.12.
INTERPRETERS = ("python", "pypy", "node", "java", "env", "sh", "bash", "uvicorn", "gunicorn", "flask", "npx")
MIN_LOADS = 3  # load cycles from which on the rate of a noisy metric has an interval


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of one trial. rate, low, high: growth per connection with its 95 % interval; NaN where the run
    cannot tell. at_most: the smallest leak the run could have detected. status: as in the verdict."""

    metric: str
    kind: str
    status: str
    rate: float
    low: float
    high: float
    unit: str
    at_most: float | None = None
    driver: str | None = None

    @property
    def key(self) -> str:
        """``fds/eventfd``."""
        return str(Key(self.metric, self.kind))


@dataclass(frozen=True, slots=True)
class TrialEntry:
    """One trial. target, profile, load and mode together name the series that it belongs to."""

    name: str
    target: str
    profile: str
    mode: str
    load: str
    sensitivity: float
    runtime: str
    runtime_version: str
    outcome: str
    explanation: str
    connections: int
    seconds: float
    metrics: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEntry:
    """One run. digest: identifies the record, so that no run is counted twice. path: its folder.

    started_at: ISO 8601, UTC. dirty: uncommitted changes; None where no repository was found."""

    digest: str
    run_id: str
    command: str
    started_at: str
    outcome: str
    exit_code: int
    kernel: str
    machine_class: str
    commit: str
    branch: str
    dirty: bool | None
    ci_job: str
    harness_version: str
    path: str
    trials: tuple[TrialEntry, ...] = ()


def entry_of(record: RunRecord, *, path: str = "", target: str | None = None) -> RunEntry:
    """The history's entry of a judged record. target: its name, instead of one made from command and URL."""
    machine = record.machine
    verdicts = [trial.verdict for trial in record.trials if trial.verdict]
    worst = worst_outcome(verdict.outcome for verdict in verdicts)
    dirty = machine.get("dirty")
    return RunEntry(
        digest=digest_of(record),
        run_id=record.run_id,
        command=record.command,
        started_at=record.started_at,
        outcome=worst.value,
        exit_code=worst.exit_code,
        kernel=_text(machine, "kernel"),
        machine_class=_text(machine, "machine_class"),
        commit=_text(machine, "commit"),
        branch=_text(machine, "branch"),
        dirty=dirty if isinstance(dirty, bool) else None,
        ci_job=_text(machine, "ci_job"),
        harness_version=record.harness_version,
        path=path,
        trials=tuple(trial_entry(trial, target) for trial in record.trials if trial.verdict),
    )


def digest_of(record: RunRecord) -> str:
    """Hexadecimal SHA-256 of what was measured; a run that is judged or reported again keeps it."""
    data = to_dict(record)
    for trial in data["trials"]:
        for judged in ("verdict", "places", "notes", "about"):
            trial.pop(judged, None)
        if not trial.get("restarts"):
            trial.pop("restarts", None)  # records of older versions have none, and keep their digest
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def worst_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of several outcomes: the service's fault, then the harness's, then inconclusive."""
    declared = tuple(Outcome)  # of the same exit code, the worse is declared first

    def severity(outcome: Outcome) -> tuple[int, int]:
        return WORST_EXIT_FIRST.index(outcome.exit_code), declared.index(outcome)

    return min(outcomes, key=severity, default=Outcome.INCONCLUSIVE)


def trial_entry(trial: Trial, target: str | None) -> TrialEntry:
    """One trial's entry; the trial must be judged."""
    assert trial.verdict
    spec = trial.observations[-1].spec if trial.observations else None
    about = trial.about
    return TrialEntry(
        name=trial.name,
        target=target or ("reference-service" if about.profile else target_name(trial)),
        profile=about.profile or about.budget_profile,
        mode=about.mode or (spec.mode if spec else ""),
        # The plan varies what a cycle opens, so the load of a cycle is not the load of the run.
        load=about.load,
        sensitivity=trial.sensitivity,
        runtime=trial.target.runtime,
        runtime_version=about.runtime_version,
        outcome=trial.verdict.outcome.value,
        explanation=trial.verdict.explanation,
        connections=sum(one.ledger.opened for one in trial.observations),
        seconds=max(0.0, trial.ended - trial.started),
        metrics=tuple(measured(trial)),
    )


def target_name(trial: Trial) -> str:
    """``app.py /events``: the program and the path of its streams, without what changes from run to run."""
    path = trial.target.url.partition("://")[2].partition("/")[2].partition("?")[0]
    if not trial.target.command:
        host = trial.target.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        return f"{host} /{path}"
    words = [word.rpartition("/")[2] for word in trial.target.command if not word.startswith("-")]
    named = [word for word in words if not word.rstrip("0123456789.").endswith(INTERPRETERS)]
    return f"{(named or words or ['service'])[0]} /{path}"


def measured(trial: Trial) -> list[Measured]:
    """Every metric with its growth per connection, in a fixed order."""
    assert trial.verdict
    found = moments(trial)
    keys = [*assess_counts(trial, found), MEMORY]
    findings = {(one.metric, one.kind): one for one in trial.verdict.findings}
    bounds = {(one.metric, one.kind): one for one in trial.verdict.bounds if one.per_stream}
    result = []
    for key in keys:
        one = series(found, key)
        rate = rate_of_run(one) if one else None
        name = (key.metric, key.kind)
        if rate is None:
            continue
        finding, bound = findings.get(name), bounds.get(name)
        result.append(
            Measured(
                metric=key.metric,
                kind=key.kind,
                status=finding.status if finding else bound.status if bound else "undecided",
                rate=rate[0],
                low=rate[1],
                high=rate[2],
                unit=f"{key.unit}/connection",
                at_most=bound.at_most if bound else None,
                driver=finding.driver if finding else None,
            )
        )
    return result


def rate_of_run(one: Series) -> tuple[float, float, float] | None:
    """Growth per connection over a whole trial, with its 95 % interval; None where the run cannot show one."""
    column = one.column("connection")
    pairs = [(value, amount) for value, amount in zip(one.increments, column, strict=True) if amount > 0]
    if not pairs:
        return None
    if one.key.judged is Judged.EXACT:
        rate = interval(one.increments, column)
    elif len(pairs) < MIN_LOADS:
        return None
    else:
        rate = ratio_interval(pairs)
    return rate if all(math.isfinite(value) for value in rate) else None


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return str(value) if value is not None else ""


def prunable(
    entries: Sequence[RunEntry],
    now: datetime.datetime,
    *,
    keep_days: float | None = None,
    keep_last: int | None = None,
    keep_failures: bool = False,
) -> list[RunEntry]:
    """The entries that no rule keeps, oldest first. A run stays when any rule keeps it, so more rules keep more.

    keep_days: runs younger than this. keep_last: the number of newest runs kept of each target and profile.
    keep_failures: runs whose outcome is not bounded. Without any rule nothing is removed.
    """
    if keep_days is None and keep_last is None:
        return []
    kept: set[str] = set()
    seen: dict[tuple[str, str], int] = {}
    for entry in sorted(entries, key=lambda one: one.started_at, reverse=True):
        started = datetime.datetime.fromisoformat(entry.started_at)
        if keep_days is not None and now - started <= datetime.timedelta(days=keep_days):
            kept.add(entry.digest)
        if keep_failures and entry.outcome != Outcome.BOUNDED.value:
            kept.add(entry.digest)
        # A run of several trials counts for each target, and stays if it is among the newest of any of them.
        for name in {(trial.target, trial.profile) for trial in entry.trials} or {("", "")}:
            seen[name] = seen.get(name, 0) + 1
            if keep_last is not None and seen[name] <= keep_last:
                kept.add(entry.digest)
    return sorted((one for one in entries if one.digest not in kept), key=lambda one: one.started_at)
