"""Inputs of every kind for the core, and everything that it decides on them, as plain values.

``python -m tests.core.pinned_scenarios`` writes tests/core/pinned.json and tests/reports/pinned.json again, after a
deliberate change of a rule; with the name of a scenario it prints everything that is decided on it.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from harness.core.budget import Budget
from harness.core.census_diff import difference
from harness.core.cycle import CycleSpec, Ledger, Observation, Phase, Reading
from harness.core.history import measured
from harness.core.judge.attribution import attribution_cycle
from harness.core.judge.caveat import warnings_of
from harness.core.judge.moments import moments
from harness.core.judge.recipe import explain
from harness.core.judge.selftest import claims, goal_from
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.notice import notices, payload
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import ExitInfo, TargetInfo, Trial, as_ended
from harness.core.sample import Census
from harness.core.stats import changepoint, distributions, evidence, linear, poisson, ratio
from harness.core.trends import all_series, compare, trend
from harness.store.run_dir import RunDirectory
from tests.core.pinned_parts import small_scenarios
from tests.core.pinned_variations import variations
from tests.core.series import FDS, OBJECTS, CycleSums, play
from tests.history.nightly_runs import measured as night_figure
from tests.history.nightly_runs import month, nightly_run, nightly_runs

PINNED = Path(__file__).with_name("pinned.json")
ROOT = Path(__file__).parents[2]
THREADS, TASKS, ANONYMOUS, CPU = Key("threads"), Key("tasks"), Key("memory", "anonymous"), Key("idle-cpu")
FIGURE = re.compile(r"\d[\d.,]*\d|\d")
Scenario = Callable[[], Any]


def reduced(value: Any) -> Any:
    """A value as JSON. Of a sentence only its figures count, because its wording may change; numbers have six digits,
    because Python 3.12 adds up floats in another order."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: reduced(getattr(value, field.name)) for field in fields(value)}
        return {name: one for name, one in named.items() if one not in (None, "", [], {})}
    if isinstance(value, Mapping):
        return {str(key): reduced(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [reduced(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    text = str(value)
    return " ".join(["…", *FIGURE.findall(text)]) if " " in text else text


def decided(trial: Trial) -> dict[str, Any]:
    """Everything that is decided on a finished trial."""
    trial = as_ended(trial)
    verdict = judge(trial)
    return {
        "verdict": verdict,
        "warnings": len(warnings_of(trial)),
        "history": measured(replace(trial, verdict=verdict)),
        "attribution": attribution_cycle(trial),
        "claims": {str(key): value for key, value in claims(trial).items()},
        "goal": goal_from(trial),
        "moments": [(one.phase, one.done, one.peak, one.began, one.left) for one in moments(trial)[-2:]],
    }


def steps(trial: Trial, goal: Goal, every: int = 3) -> list[Any]:
    """The steps of the plan after every few cycles of a recorded trial."""
    found = []
    for length in range(0, len(trial.observations) + 1, every):
        step = next_step(replace(trial, observations=trial.observations[:length], verdict=None), goal)
        found.append(f"stop: {step.reason}" if isinstance(step, Stop) else step)
    return found


GOAL = Goal(300, 50, 1.0, ("/",), max_seconds=120.0)
GOALS = {
    "plain": GOAL,
    "mixed": replace(GOAL, disconnect="mixed", paths=("/a", "/b")),
    "broker": replace(GOAL, broker=True),
    "retention": replace(GOAL, retention=20.0, hold=2.0),
    "short": replace(GOAL, max_seconds=20.0, connections=40, concurrency=10),
    "fixed": replace(GOAL, vary=False, cycles=12, events=0, dwell=2.0),
}
_noise = random.Random(7)
SWING = [_noise.randrange(-6, 7) for _ in range(400)]
LEVELS: dict[str, Callable[[CycleSums], Mapping[Key, float]]] = {
    "flat": lambda did: {FDS: 20.0, THREADS: 4.0, OBJECTS: 5e4, ANONYMOUS: 2e7},
    "connection": lambda did: {FDS: 20.0 + did.connections},
    "rare": lambda did: {FDS: 20.0 + did.connections // 900, THREADS: 4.0},
    "event": lambda did: {FDS: 20.0, OBJECTS: 5e4 + 2.0 * did.events},
    "abort": lambda did: {FDS: 20.0 + did.aborts, THREADS: 4.0 + did.aborts // 2},
    "cycle": lambda did: {FDS: 20.0 + 3 * did.loads},
    "time": lambda did: {FDS: 20.0 + math.floor(2 * did.seconds), CPU: 0.01},
    "pool": lambda did: {FDS: 20.0 + min(64, did.connections // 5), THREADS: 4.0 + min(8, did.loads)},
    "memory": lambda did: {FDS: 20.0, ANONYMOUS: 2e7 + 4096.0 * did.connections},
    "arena": lambda did: {FDS: 20.0, ANONYMOUS: 6e7 + 4e6 * (did.cycle % 7)},
    "saw": lambda did: {FDS: 20.0 + did.connections % 1000, OBJECTS: 5e4 + 40.0 * SWING[did.cycle % 400]},
    "noise": lambda did: {FDS: 40.0 + SWING[did.cycle % 400], THREADS: 9.0 + SWING[(3 * did.cycle) % 400] % 3},
    "noisy leak": lambda did: {FDS: 40.0 + SWING[did.cycle % 400] + did.connections // 40},
    "timeout": lambda did: {FDS: 20.0 + did.unanswered, TASKS: 3.0 + did.unanswered},
    "cpu": lambda did: {FDS: 20.0, CPU: 0.002 + 1e-6 * did.connections},
}  # fmt: skip


def plays() -> Iterator[tuple[str, Scenario]]:
    """Scripted services under the plan, until the plan stops."""
    for name, level in LEVELS.items():
        for goal in ("plain", "mixed", "retention") if name != "timeout" else ("broker",):
            yield f"play {name} {goal}", lambda level=level, goal=goal: played(level, GOALS[goal])
    for goal in ("short", "fixed", "broker"):
        for name in ("flat", "connection", "memory", "noise", "event"):
            yield f"play {name} {goal}", lambda name=name, goal=goal: played(LEVELS[name], GOALS[goal])
    budgets = {
        "growth": Budget(
            growth={"fds": 0.5, "memory/objects": 1.0}, per_event={"memory": 1.0}, pools={"fds": 20.0}
        ),
        "hour": Budget(
            per_hour={"fds": 600.0, "memory": 1e6}, retain={"fds": 30.0}, ceilings={"threads": 3.0}
        ),
        "required": Budget(require_stream={"fds": 0.001, "memory": 1.0}, require_hour={"fds": 10.0}),
    }
    for name, budget in budgets.items():
        for level in ("connection", "rare", "flat", "event", "time", "pool"):
            yield (
                f"play {level} {name}",
                lambda level=level, budget=budget: played(LEVELS[level], GOAL, budget),
            )


def played(
    level: Callable[[CycleSums], Mapping[Key, float]], goal: Goal, budget: Budget | None = None
) -> Any:
    trial, _ = play(level, goal, budget=budget, limit=80)
    seen = [
        (o.spec.phase, o.spec.connections, o.spec.concurrency, o.spec.events, o.spec.disconnect, o.spec.dwell)
        for o in trial.observations
    ]
    return {"steps": seen, "decided": decided(replace(trial, retention=goal.retention))}


def random_trial(seed: int) -> Trial:
    """Cycles with everything that can happen in them: failures, gaps, releases, holds, unsettled counts, an exit."""
    rng = random.Random(seed)
    rate, keys = rng.choice((0.0, 0.0, 1.0, 0.02)), [FDS, THREADS, OBJECTS, ANONYMOUS]
    size = {FDS: 1.0, THREADS: 1.0, OBJECTS: 3.0, ANONYMOUS: 2048.0}
    release = rng.choice((0.0, 0.0, 0.5, 1.0))
    now, done, observations = 0.0, 0, []
    for index in range(rng.randrange(8, 36)):
        phase = Phase.WARMUP if index < 3 else rng.choice(
            (Phase.LOAD, Phase.LOAD, Phase.LOAD, Phase.IDLE, Phase.RETENTION, Phase.HOLD, Phase.SEARCH)
        )  # fmt: skip
        opened = 0 if phase in (Phase.IDLE, Phase.RETENTION) else rng.choice((40, 300, 300, 1000))
        failed = rng.choice((0, 0, 0, opened // 10, opened)) if rng.random() < 0.3 else 0
        answered = opened - failed
        done += answered
        kept = rate * done * (1 - release * (phase is Phase.RETENTION))
        levels = {
            key: {FDS: 20.0, THREADS: 4.0, OBJECTS: 5e4, ANONYMOUS: 2e7}[key]
            + size[key] * math.floor(kept)
            + rng.choice((0, 0, 0, 1, 2)) * size[key]
            for key in keys
            if rng.random() > 0.04
        }
        load, rest = 1.0 + 0.5 * rng.random(), 1.0 + rng.random()
        end = now + load + rest + (20.0 if phase is Phase.RETENTION else 0.0)
        counts = tuple((now + load + 0.3 * i, levels.get(FDS, 20.0) + max(0, 4 - i), 4.0) for i in range(5))
        held = tuple(
            Reading(
                now + 0.4 * i,
                {key: value + 5 * i * size[key] for key, value in levels.items()},
                20 * i * opened,
            )
            for i in range(1, 6)
        )
        statuses = {503: failed} if failed and rng.random() < 0.5 else {}
        ledger = Ledger(
            opened=opened, completed=answered, failed=failed, events=answered * 2, aborts=opened // 5,
            stalls=rng.choice((0, 0, 0, opened // 2)), seconds=load, answered=answered,
            refused=sum(statuses.values()), statuses=statuses, causes={"reset": failed} if failed else {},
            by_mode={"fin": opened - opened // 5, "rst": opened // 5}, peak=min(50, opened),
            bursts=1, first_event_p99=0.05, opened_before_failure=10 if failed else None,
        )  # fmt: skip
        settled = rng.random() > 0.1
        observations.append(
            Observation(
                CycleSpec(index, opened, 50, 2.0, phase=phase), ledger, levels, now, end, now + load,
                settled=settled, unsettled="" if settled else "threads", complete=rng.random() > 0.02,
                close_lag=rng.choice((0.1, 0.1, 4.0)), idle_counts=counts,
                connected=held if phase is Phase.HOLD else (),
                events=("pid 7 (worker) ended",) if rng.random() < 0.05 else (),
            )
        )  # fmt: skip
        now = end
    gone = (
        ExitInfo(-11, now, done, ("Fatal Python error: Segmentation fault",)) if rng.random() < 0.1 else None
    )
    retention, sensitivity = rng.choice((0.0, 0.0, 10.0, 60.0)), rng.choice((1e-3, 0.1))
    rng.random()  # once drawn for a field that is gone; without it every later value would be another one
    return Trial(
        "random", TargetInfo(("service",), "http://127.0.0.1:1/", 1, limits={"RLIMIT_NOFILE": 1024.0}), Budget(),
        tuple(observations), gone, retention=retention, ended=now, sensitivity=sensitivity,
        initial={FDS: 18.0} if rng.random() < 0.5 else {},
    )  # fmt: skip


def recorded() -> Iterator[tuple[str, Scenario]]:
    """Saved runs of real services, and random trials."""
    folders = [*sorted((ROOT / "tests" / "cases" / "runs").iterdir()), ROOT / "reports" / "sample"]
    for folder in folders:
        record, _ = RunDirectory.load(folder)
        for trial in record.trials:
            name = f"{folder.name} {trial.name}"
            yield f"saved {name}", lambda trial=trial: decided(trial)
            goal = goal_from(trial)
            if goal is not None:
                limit = max(3, len(trial.observations) // 12)
                yield (
                    f"plan {name}",
                    lambda trial=trial, goal=goal, limit=limit: [
                        steps(trial, each, limit)
                        for each in (goal, replace(goal, retention=60.0, search=True, hold=5.0))
                    ],
                )
    for seed in range(48):
        yield f"random {seed}", lambda seed=seed: decided(random_trial(seed))
    for seed in range(0, 48, 8):
        yield (
            f"plan random {seed}",
            lambda seed=seed: [
                steps(random_trial(seed), goal, 4) for goal in (GOALS["retention"], GOALS["mixed"])
            ],
        )


def statistics() -> Iterator[tuple[str, Scenario]]:
    """The estimators on seeded data."""
    for seed in range(12):
        rng = random.Random(seed)
        n = rng.randrange(4, 30)
        x = [rng.choice((40.0, 300.0, 1000.0)) for _ in range(n)]
        z = [rng.uniform(1.0, 5.0) for _ in range(n)]
        rate = rng.choice((0.0, 0.003, 0.2, 1.0))
        y = [float(sum(rng.random() < rate for _ in range(int(a)))) for a in x]
        noisy = [value + rng.gauss(0, 3.0) for value in y]
        levels = [sum(noisy[: i + 1]) for i in range(n)]
        offset = [0.01 * a for a in x]

        def all_of(x=x, z=z, y=y, noisy=noisy, levels=levels, offset=offset) -> Any:  # type: ignore[no-untyped-def]
            bands = [changepoint.RateEstimate(v / 300, v / 300 - 0.01, v / 300 + 0.01) for v in noisy]
            return {
                "fit": poisson.fit(y, [x, z], offset),
                "evidence": evidence.evidence(y, x, [z], offset),
                "line": linear.line(levels, [x, z]),
                "solve": linear.solve(
                    [[4.0, 1.0, x[0]], [1.0, 3.0, 2.0], [x[0], 2.0, 1e5]], [1.0, 2.0, y[0]]
                ),
                "factor": ratio.factor(y, x),
                "mean": distributions.mean_interval(noisy),
                "ratio": distributions.ratio_interval(list(zip(y, x, strict=True))),
                "poisson": [distributions.poisson_interval(count, 10.0) for count in (0.0, 1.0, y[0])],
                "tails": [distributions.student_tail(t, len(x)) for t in (0.5, 2.0, 9.0)],
                "student": distributions.student95(len(x)),
                "correlated": distributions.correlated(x, noisy),
                "isotonic": distributions.isotonic(noisy),
                "drawdown": distributions.drawdown(levels),
                "changes": changepoint.changes(bands, threshold=5.0),
                "weigh": changepoint.weigh(bands),
            }

        yield f"statistics {seed}", all_of


def years() -> Iterator[tuple[str, Scenario]]:
    """A history of many nightly runs, with comparisons and notices."""
    entries = month()
    yield "trend", lambda: trend(all_series(entries))
    yield "compare", lambda: compare(entries[0], entries[-1])
    yield "notices", lambda: [payload(one) for one in notices(entries[-1], entries[:-1])]
    yield "falling", lambda: trend(all_series(nightly_runs([0.3] * 12 + [0.0] * 12)))
    single = nightly_run(
        40, night_figure(0.5), night_figure(3000.0, metric="memory", kind="objects", half=40.0)
    )
    yield "new metrics", lambda: compare(entries[0], single)
    before = Census(
        0.0, {"eventfd": 3, "socket": 4}, {"CLOSE_WAIT": 1}, {"main": 4}, {"stack": 4}, {"rss": 10_000}
    )
    after = Census(
        9.0, {"eventfd": 303, "socket": 4, "pipe": 2}, {"CLOSE_WAIT": 9}, {"main": 4, "io": 300}, {"stack": 304},
        {"rss": 9_000_000}, processes=2, zombies=1,
    )  # fmt: skip
    yield "difference", lambda: difference(before, after)
    rates = {
        Key("fds", "eventfd"): 1.0,
        Key("threads", "io"): 2.0,
        Key("fds", "epoll"): 1.0,
        Key("mappings"): 2.0,
    }
    yield "recipes", lambda: {str(key): one.name for key, one in explain(rates).items()}


def scenarios() -> Iterator[tuple[str, Scenario]]:
    """Every scenario by its name."""
    yield from plays()
    yield from recorded()
    yield from statistics()
    yield from years()
    yield from variations()
    yield from small_scenarios()


def digest(value: Any) -> str:
    """The outcome of a verdict, if there is one, and a checksum of everything decided."""
    whole = reduced(value)
    part = whole.get("decided", whole) if isinstance(whole, dict) else {}
    outcome = part.get("verdict", {}).get("outcome", "") if isinstance(part, dict) else ""
    return f"{outcome} {hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]}".strip()


def write(file: Path, found: Iterator[tuple[str, Scenario]]) -> None:
    """The digests of some scenarios as JSON."""
    file.write_text(json.dumps({name: digest(work()) for name, work in found}, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(reduced(dict(scenarios())[sys.argv[1]]()), indent=1))
    else:
        from tests.reports import pinned_reports

        write(PINNED, scenarios())
        write(pinned_reports.PINNED, pinned_reports.scenarios())  # reports show what is decided
