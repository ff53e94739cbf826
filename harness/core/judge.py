"""Observations and budgets in, verdict out. Pure: the same trial always gives the same verdict."""

from __future__ import annotations

import math
import signal

from harness.core.census_diff import steady
from harness.core.counts import CountResult
from harness.core.cycle import Ledger, Phase
from harness.core.forecast import nearest
from harness.core.judge_counts import assess_counts, judged_cycles
from harness.core.judge_memory import assess_memory
from harness.core.metric import Key
from harness.core.recipe import match
from harness.core.record import Trial
from harness.core.signature import find
from harness.core.verdict import Bound, Crash, Exhaustion, Finding, Outcome, Rate, Verdict

MEMORY = Key("memory", "anonymous")
WORST_FIRST = (
    Outcome.CRASHED, Outcome.LEAKING, Outcome.STALLED, Outcome.OVER_CEILING, Outcome.INFRASTRUCTURE,
    Outcome.INCONCLUSIVE,
)  # fmt: skip
STALLED_SHARE = 0.5  # of the opened streams without an event, that make a service stalled


def judge(trial: Trial) -> Verdict:
    """The verdict of one trial. Several outcomes may hold; the worst decides and the others are said."""
    if trial.unready:
        return Verdict(Outcome.UNREADY, trial.unready, advice="start the service by hand and open the URL")
    results = assess_counts(trial)
    findings = [*_leaks(trial, results), *_memory_leaks(trial), *_ceilings(trial)]
    bounds = _bounds(trial, results)
    crash = _crash(trial)
    stalled = _stalled(trial)
    doubt = _doubt(trial, results)
    held = []
    if crash:
        held.append(Outcome.CRASHED)
    if any(finding.status == "leaking" for finding in findings):
        held.append(Outcome.LEAKING)
    if stalled:
        held.append(Outcome.STALLED)
    if any(finding.status == "over-ceiling" for finding in findings):
        held.append(Outcome.OVER_CEILING)
    if trial.infrastructure:
        held.append(Outcome.INFRASTRUCTURE)
    elif doubt and not held:
        held.append(Outcome.INCONCLUSIVE)
    held.sort(key=WORST_FIRST.index)
    outcome = held[0] if held else Outcome.BOUNDED
    return Verdict(
        outcome=outcome,
        explanation=_explain(outcome, trial, crash, findings, bounds, stalled, doubt),
        findings=tuple(findings),
        bounds=tuple(bounds),
        crash=crash,
        stalled=stalled,
        also=tuple(held[1:]),
        warnings=tuple(_warnings(trial)),
        advice=_advice(outcome, findings, doubt),
    )


def _leaks(trial: Trial, results: dict[Key, CountResult]) -> list[Finding]:
    leaking = {key: result for key, result in results.items() if result.status == "leaking"}
    rates = {key: result.rate for key, result in leaking.items()}
    recipe = match(rates)
    shown = steady(rates)
    # A total repeats its kinds; it speaks only where no kind of it grew.
    keys = [key for key in leaking if key.kind or not any(k.metric == key.metric for k in shown)]
    found = []
    for key in sorted(keys, key=lambda k: -leaking[k].rate):
        result = leaking[key]
        rate = _rate(result.rate, result.low, result.high, f"{key.unit}/connection")
        exhausts = nearest(
            key.metric,
            _last_level(trial, Key(key.metric)),
            _total_rate(leaking, key, rate),
            trial.target.limits,
            per_second=_pace(trial),
        )
        found.append(
            Finding(
                metric=key.metric,
                kind=key.kind,
                status="leaking",
                driver="connection",
                rate=rate,
                recipe=recipe.name if recipe else None,
                exhausts=exhausts,
                explanation=f"{_amount(result.rate)} {key} per connection: {result.why}"
                + (f"; {recipe.sentence}" if recipe else "")
                + _exhausted(exhausts),
            )
        )
    return found


def _total_rate(leaking: dict[Key, CountResult], key: Key, rate: Rate) -> Rate:
    """Ceilings bound the total of a metric, not one kind of it."""
    total = leaking.get(Key(key.metric))
    return _rate(total.rate, total.low, total.high, rate.unit) if total else rate


def _memory_leaks(trial: Trial) -> list[Finding]:
    result = assess_memory(trial, MEMORY)
    if not result or result.status != "leaking":
        return []
    rate = _rate(result.rate, result.low, result.high, "B/connection")
    exhausts = nearest(
        "memory", _last_level(trial, MEMORY), rate, trial.target.limits, per_second=_pace(trial)
    )
    text = f"{result.rate:.0f} B of anonymous memory per connection: {result.why}"
    return [
        Finding(
            "memory", "anonymous", "leaking", "connection", rate, text + _exhausted(exhausts), None, exhausts
        )
    ]


def _ceilings(trial: Trial) -> list[Finding]:
    found = []
    for name, limit in sorted(trial.budget.ceilings.items()):
        key = Key.parse(name)
        levels = [o.levels[key] for o in trial.observations if key in o.levels]
        if levels and max(levels) > limit:
            text = f"{key} reached {max(levels):g} {key.unit}, over its ceiling of {limit:g}"
            found.append(Finding(key.metric, key.kind, "over-ceiling", None, None, text))
    return found


def _bounds(trial: Trial, results: dict[Key, CountResult]) -> list[Bound]:
    found = []
    for key, result in sorted(results.items()):
        if result.status == "leaking" or not math.isfinite(result.at_most):
            continue
        grown = _warmup_growth(trial, key)
        status = "retention" if grown >= 3 and result.status == "bounded" else result.status
        text = result.why
        if status == "retention":
            text = f"grew by {grown:g} while warming up and stopped: a pool or a cache; {result.why}"
        found.append(
            Bound(
                key.metric, key.kind, status, round(result.at_most, 9), f"{key.unit}/connection", 0.95, text
            )
        )
    memory = assess_memory(trial, MEMORY)
    if memory and memory.status != "leaking":
        status = "bounded" if memory.status == "bounded" else "observed"
        found.append(
            Bound("memory", "anonymous", status, round(memory.at_most, 3), "B/connection", 0.95, memory.why)
        )
    return found


def _warmup_growth(trial: Trial, key: Key) -> float:
    levels = [o.levels.get(key, 0.0) for o in trial.observations if o.levels and o.spec.phase is Phase.WARMUP]
    return levels[-1] - levels[0] if len(levels) > 1 else 0.0


def _crash(trial: Trial) -> Crash | None:
    if not trial.exit:
        return None
    code = trial.exit.returncode
    found = find(trial.exit.log_tail)
    return Crash(
        returncode=code,
        signal=_signal_name(code),
        signature=found.signature.name if found else None,
        line=found.line if found else None,
        at_seconds=round(trial.exit.at, 2),
        at_connection=trial.exit.connections,
        grown=_grown(trial),
    )


def _signal_name(code: int | None) -> str | None:
    if code is None or code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _grown(trial: Trial) -> dict[str, float]:
    """What had grown from the first to the last level before a death."""
    levels = [o.levels for o in judged_cycles(trial)]
    if len(levels) < 2:
        return {}
    growth = {
        key: levels[-1][key] - levels[0].get(key, 0.0)
        for key in levels[-1]
        if key.metric != "memory" and levels[-1][key] > levels[0].get(key, 0.0)
    }
    return {str(key): value for key, value in sorted(growth.items(), key=lambda item: (-item[1], item[0]))}


def _stalled(trial: Trial) -> str | None:
    if trial.unresponsive:
        return trial.unresponsive
    loaded = [o.ledger for o in trial.observations if o.ledger.opened and o.spec.mode == "stream"]
    opened = sum(ledger.opened for ledger in loaded)
    mute = sum(ledger.stalls for ledger in loaded)
    if opened and mute >= STALLED_SHARE * opened:
        events = sum(ledger.events for ledger in loaded)
        what = "no event ever came" if not events else f"only {events} events came"
        return f"{mute} of {opened} streams stalled: {what}, though the process lives"
    return None


def _ledger_total(trial: Trial) -> Ledger:
    loads = [o.ledger for o in trial.observations]
    causes: dict[str, int] = {}
    for ledger in loads:
        for cause, count in ledger.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    return Ledger(
        opened=sum(x.opened for x in loads),
        completed=sum(x.completed for x in loads),
        failed=sum(x.failed for x in loads),
        rate_limited=sum(x.rate_limited for x in loads),
        seconds=math.fsum(x.seconds for x in loads),
        causes=causes,
    )


def _doubt(trial: Trial, results: dict[Key, CountResult]) -> str | None:
    """Why nothing certain can be said, or None."""
    if trial.interrupted:
        return "the run was interrupted"
    total = _ledger_total(trial)
    if total.rate_limited:
        return f"rate limited: {total.rate_limited} streams were refused with 429 or 503"
    if total.opened and total.failed * 2 > total.opened:
        worst = max(total.causes.items(), key=lambda item: (item[1], item[0]), default=("unknown", 0))
        return f"{total.failed} of {total.opened} streams failed, most by: {worst[0]}"
    unsettled = [o for o in trial.observations if o.complete and not o.settled]
    if unsettled and len(unsettled) * 2 >= len(trial.observations):
        return f"{len(unsettled)} of {len(trial.observations)} cycles never settled ({unsettled[-1].unsettled} moved)"
    if not results:
        return "no two cycles were completed"
    open_questions = [key for key, result in results.items() if result.status == "undecided"]
    if open_questions:
        worst_key = max(open_questions, key=lambda key: (results[key].at_most, str(key)))
        return f"{worst_key}: {results[worst_key].why}"
    return None


def _warnings(trial: Trial) -> list[str]:
    found = []
    if any(o.ledger.saturated for o in trial.observations):
        found.append("the load generator was the bottleneck in at least one cycle")
    unreadable = sorted({reason for o in trial.observations if o.census for reason in o.census.unreadable})
    found.extend(f"not read: {reason}" for reason in unreadable[:5])
    unsettled = [o.spec.index for o in trial.observations if o.complete and not o.settled]
    if unsettled:
        found.append(f"cycles that never settled: {', '.join(map(str, unsettled[:10]))}")
    total = _ledger_total(trial)
    if total.failed and not trial.exit:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(total.causes.items()))
        found.append(f"{total.failed} of {total.opened} streams failed: {causes}")
    return found


def _explain(
    outcome: Outcome,
    trial: Trial,
    crash: Crash | None,
    findings: list[Finding],
    bounds: list[Bound],
    stalled: str | None,
    doubt: str | None,
) -> str:
    parts = []
    if crash:
        how = crash.signal or (
            "exit code unknown" if crash.returncode is None else f"exit code {crash.returncode}"
        )
        parts.append(
            f"died under load ({how}) after {crash.at_seconds:.1f} s and {crash.at_connection} connections"
        )
        if crash.signature:
            parts.append(f"its log says {crash.signature}")
        if crash.grown:
            grown = ", ".join(f"{name} +{by:g}" for name, by in list(crash.grown.items())[:4])
            parts.append(f"before that grew: {grown}")
    if findings:
        parts.append(findings[0].explanation)
    if stalled:
        parts.append(stalled)
    if trial.infrastructure:
        parts.append(trial.infrastructure)
    if outcome is Outcome.INCONCLUSIVE and doubt:
        parts.append(doubt)
    if outcome is Outcome.BOUNDED:
        exact = [bound.at_most for bound in bounds if bound.metric == "fds" and not bound.kind]
        total = _ledger_total(trial)
        worst = (
            f"at most {exact[0]:.2g} descriptors per connection could have stayed"
            if exact
            else "no count grew"
        )
        parts.append(f"everything came back after {total.opened} connections: {worst} (95 %)")
    return "; ".join(parts) or "nothing was measured"


def _advice(outcome: Outcome, findings: list[Finding], doubt: str | None) -> str:
    if outcome is Outcome.LEAKING and findings:
        return "look at what is opened per connection and not closed in a finally block or a context manager"
    if outcome is Outcome.CRASHED:
        return "read the end of target.log; run again under a debugger with the same load"
    if outcome is Outcome.INCONCLUSIVE:
        if doubt and "rate limited" in doubt:
            return "raise the service's limit for the test, or spread the load over source addresses"
        if doubt and "settled" in doubt:
            return "give a longer --settle, or stop background work during the test"
        return "give more time or connections (--max-time, --connections), or ask for less (--sensitivity)"
    return ""


def _rate(value: float, low: float, high: float, unit: str) -> Rate:
    return Rate(round(value, 6), round(low, 6), round(high, 6), unit)


def _amount(value: float) -> str:
    return f"+{value:.2f}" if value < 100 else f"+{value:.0f}"


def _last_level(trial: Trial, key: Key) -> float:
    return next((o.levels[key] for o in reversed(trial.observations) if key in o.levels), 0.0)


def _pace(trial: Trial) -> float | None:
    total = _ledger_total(trial)
    return total.opened / total.seconds if total.seconds > 0 else None


def _exhausted(exhausts: Exhaustion | None) -> str:
    if not exhausts or exhausts.after_connections is None:
        return ""
    time = f" (about {exhausts.after_seconds:.0f} s at this pace)" if exhausts.after_seconds else ""
    ceiling = f"{exhausts.ceiling} ({exhausts.limit:g})"
    return f"; {ceiling} is met after {exhausts.after_connections:.0f} more connections{time}"
