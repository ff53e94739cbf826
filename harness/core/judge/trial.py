"""Judges a trial. Pure: the same trial always gives the same verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.core.judge import connected_findings
from harness.core.judge import crash as crashes
from harness.core.judge.advice import held_of, next_step
from harness.core.judge.assessed import Assessed
from harness.core.judge.at_once import as_served, at_once
from harness.core.judge.bounds import bounds, seconds_seen
from harness.core.judge.caveat import RAISE_RATE_LIMIT, Caveat, caveat_of, ledger_total, warnings_of
from harness.core.judge.counts import assess_counts
from harness.core.judge.diagnose import growth_text, per
from harness.core.judge.findings import ceilings, leaks
from harness.core.judge.following import held_for_departed
from harness.core.judge.hourly import growth_so_far, restarts_text, so_far
from harness.core.judge.idle_growth import idle_growth
from harness.core.judge.mapping_kinds import mapped_text
from harness.core.judge.memory import MEMORY, counted_inside
from harness.core.judge.memory_over_time import memory_of
from harness.core.judge.moments import moments, split_warmup
from harness.core.judge.required import shortfall, unmet
from harness.core.judge.retained import retention_of
from harness.core.judge.stalled import EXHAUSTED, full_of_descriptors, more_than_served, ran_out, stalled
from harness.core.judge.unserved import advice_of, stopped_serving
from harness.core.metric import EXACT_MEMORY_KINDS, Key, rank
from harness.core.record import Trial
from harness.core.segments import last_process, segments
from harness.core.units import bytes_text, counted
from harness.core.verdict import Bound, Crash, Finding, Outcome, Verdict

MIN_HOURLY_SECONDS = 60.0  # seconds of a run from which on its bounds per hour are mentioned
WORST_FIRST = (
    Outcome.CRASHED, Outcome.LEAKING, Outcome.STALLED, Outcome.OVER_CEILING, Outcome.INFRASTRUCTURE,
    Outcome.INCONCLUSIVE,
)  # fmt: skip
ALLOCATOR_KEEPS = "live memory is flat, anonymous memory grew: the allocator keeps it"


def judge(trial: Trial) -> Verdict:
    """The verdict of one trial. Several outcomes may hold; the worst one decides, and the others are listed."""
    if trial.unready:
        advice = trial.about.advice or "start the service yourself and request the URL"
        return Verdict(Outcome.UNREADY, trial.unready, advice=advice)
    fewer, trial = at_once(trial), as_served(trial)
    found = moments(trial)
    results = assess_counts(trial, found)
    inside = counted_inside(found)
    memory = memory_of(trial, found)
    parts = segments(trial)
    warnings = [*([fewer.text()] if fewer else []), *restarts_text(trial), *warnings_of(trial)]
    if memory:
        memory = held_for_departed(found, _agreed(memory, results, warnings, inside=inside), results)
        results = {**results, MEMORY: memory}
    # A process reaches a ceiling with its own level, not with the growth of several processes together.
    levels = [moment for part in parts for moment in moments(part)]
    last = moments(parts[-1])
    findings = [*leaks(trial, last, results), *connected_findings.findings(trial), *ceilings(trial, levels)]
    all_bounds = [
        *bounds(found, results, inside=inside, sensitivity=trial.sensitivity),
        *connected_findings.bounds(trial),
    ]
    warnings.extend(connected_findings.warnings(trial))
    crash = crashes.crash_of(parts[-1])
    leaking = any(one.status == "leaking" for one in findings)
    # A leak that reached a limit says itself what happened there.
    stall = stalled(trial) or (None if leaking or crash else stopped_serving(trial))
    exhausted = ran_out(trial) if stall else None
    full = full_of_descriptors(trial) if stall and not exhausted else None
    stall = f"{stall}; {full}" if full else stall
    missed = [] if leaking else unmet(trial, found, all_bounds)
    caveat = caveat_of(trial, results)
    if caveat is None or caveat.weak:  # undecided growth is more important than a weak bound
        caveat = _hold_cycle_caveat(trial) or caveat or shortfall(trial, missed)
    warnings.extend(one.text for one in missed if caveat and one.text != caveat.why)
    held = _outcomes(trial, crash, findings, stall, caveat)
    outcome = held[0] if held else Outcome.BOUNDED
    reason = caveat.why if caveat and outcome is Outcome.INCONCLUSIVE else ""
    if memory and memory.status == "undecided" and not inside and memory.why not in reason:
        # First: what was not decided matters more than how the load was.
        warnings.insert(0, f"memory/anonymous is undecided: {memory.why}")
    # A second cause matters most: the terminal shows the first warning only.
    warnings = [*idle_growth(results, last).values(), *warnings]
    warnings = [one for one in warnings if one not in reason]  # the explanation has it
    return Verdict(
        outcome=outcome,
        explanation=_explain(
            trial,
            outcome,
            crash,
            findings,
            all_bounds,
            f"{stall}; {exhausted}" if stall and exhausted else stall,
            caveat,
            results,
        ),
        findings=tuple(findings),
        bounds=tuple(all_bounds),
        crash=crash,
        stalled=stall,
        also=tuple(held[1:]),
        warnings=tuple(warnings),
        advice=_with_rate_limit_advice(
            trial,
            next_step(None, trial.target.runtime)
            if _ran_out_of_resources(outcome, crash, exhausted or full)
            else _advice(outcome, findings, caveat, crash, trial),
        ),
        waiting=caveat.waiting if caveat and outcome is Outcome.INCONCLUSIVE else None,
    )


def suspicion(trial: Trial) -> str:
    """The suspected growth so far, for the live view: "suspected: +1.00 fds per answered stream". Empty
    while nothing is."""
    trial = last_process(as_served(trial))
    found = moments(trial)
    if len(found) < 2 or trial.retention <= 0:
        return ""
    results = assess_counts(trial, found)
    if memory := memory_of(trial, found):
        results = {**results, MEMORY: memory}
    suspected = [(rank(key), -one.rate, key) for key, one in results.items() if one.status == "suspected"]
    if not suspected:
        return ""
    _, _, key = min(suspected)
    one = results[key]
    age = one.idle_evidence.age if one.idle_evidence else 0.0
    retention = retention_of(trial, key)
    grew = f"suspected: {growth_text(one.rate, key)} per {per(one.factor)}"
    return f"{grew}; waiting {age:.0f} of {retention:g} s for its release"


def _agreed(
    memory: Assessed, results: Mapping[Key, Assessed], warnings: list[str], *, inside: bool
) -> Assessed:
    """The result for anonymous memory. If there are runtime counters of memory, these decide, and explain the noisy
    series."""
    if not inside:
        return memory
    if memory.status != "leaking":  # the plan does not wait for anonymous memory either
        return replace(memory, growing=False)
    counted = [
        one for key, one in results.items() if key.metric == "memory" and key.kind in EXACT_MEMORY_KINDS
    ]
    if any(one.status == "leaking" for one in counted):
        return memory
    warnings.append(f"{ALLOCATOR_KEEPS} ({memory.rate:.0f} B per connection)")
    return Assessed("undecided", memory.high, ALLOCATOR_KEEPS, memory.total, memory.exposure)


def _hold_cycle_caveat(trial: Trial) -> Caveat | None:
    """Growth while clients stayed connected that is neither a finding nor bounded."""
    undecided = connected_findings.undecided(trial)
    return Caveat(*undecided) if undecided else None


def _outcomes(
    trial: Trial, crash: Crash | None, findings: Sequence[Finding], stall: str | None, caveat: Caveat | None
) -> list[Outcome]:
    """Every outcome that holds, worst first."""
    held = []
    if crash:
        held.append(Outcome.CRASHED)
    if any(finding.status == "leaking" for finding in findings):
        held.append(Outcome.LEAKING)
    if stall:
        held.append(Outcome.STALLED)
    if any(finding.status == "over-ceiling" for finding in findings):
        held.append(Outcome.OVER_CEILING)
    if trial.infrastructure:
        held.append(Outcome.INFRASTRUCTURE)
    elif caveat and not held:
        held.append(Outcome.INCONCLUSIVE)
    return sorted(held, key=WORST_FIRST.index)


def _explain(
    trial: Trial,
    outcome: Outcome,
    crash: Crash | None,
    findings: Sequence[Finding],
    all_bounds: Sequence[Bound],
    stall: str | None,
    caveat: Caveat | None,
    results: Mapping[Key, Assessed],
) -> str:
    """One paragraph, the worst first."""
    parts = []
    if crash:
        parts.append(crashes.sentence(crash))
    if findings:
        parts.append(findings[0].explanation)
    if stall:
        parts.append(stall)
    if trial.infrastructure:
        parts.append(trial.infrastructure)
    if outcome is Outcome.INCONCLUSIVE and caveat:
        parts.append(caveat.why)
    if outcome is Outcome.INCONCLUSIVE and trial.interrupted:
        parts.append(growth_so_far(results, streams_seen(trial)))
    if outcome is Outcome.BOUNDED:
        parts.append(_bounded_text(trial, all_bounds, results))
    if outcome in (Outcome.BOUNDED, Outcome.INCONCLUSIVE) and (trial.interrupted or trial.about.soak):
        seconds = seconds_seen(moments(trial))
        if seconds >= MIN_HOURLY_SECONDS:  # the bounds of a few seconds are weak, and are in the table anyway
            parts.append(so_far(all_bounds, seconds))
    return "; ".join(part for part in parts if part) or "nothing was measured"


def streams_seen(trial: Trial) -> float:
    """Connections of the judged part of a trial: those of the warm-up are no evidence."""
    judged = [split_warmup(moments(part))[1] for part in segments(trial)]
    return math.fsum(
        seen[-1].done.get("connection", 0.0) - seen[0].done.get("connection", 0.0) for seen in judged if seen
    )


def _bounded_text(trial: Trial, all_bounds: Sequence[Bound], results: Mapping[Key, Assessed]) -> str:
    exact = next((bound for bound in all_bounds if bound.metric == "fds" and not bound.kind), None)
    worst = (
        "no count grew"
        if exact is None
        else f"at most {counted(exact.at_most, 'descriptor', '.2g')} per answered stream can have stayed"
    )
    hourly = {b.kind: b.at_most for b in all_bounds if b.metric == "memory" and b.unit == "B/hour"}
    if "heap-bytes" in hourly:  # counted inside the service, which decides
        worst += f", and {bytes_text(hourly['heap-bytes'])} of live heap per hour"
    elif hourly:
        worst += f", and {bytes_text(next(iter(hourly.values())))} of memory per hour"
    late = _released(results)
    came = f"no leak found over {counted(ledger_total(trial).opened, 'connection')}"
    text = f"{came}{f', {late}' if late else ''}: {worst} (95 %)"
    if pool := _pooled(results):
        text = f"{counted(ledger_total(trial).opened, 'connection')}: {pool}; {worst} (95 %)"
    if exact is None or not exact.odds:
        return text
    return f"{text}; a leak of {trial.sensitivity:g} per stream would have been missed in {exact.odds}"


def _released(results: Mapping[Key, Assessed]) -> str:
    """The late release of the first cause: "fds released 10 s after the client disconnected"."""
    late = {key: one.release for key, one in results.items() if one.release}
    if not late:
        return ""
    key = min(late, key=lambda k: (rank(k), str(k)))
    return f"{key} {late[key].text()}" if late[key].over else ""


def _pooled(results: Mapping[Key, Assessed]) -> str:
    """The first cause that counts as a pool because each burst of clients added the same."""
    pools = [key for key, one in results.items() if one.status == "bounded" and one.per_burst]
    if not pools:
        return ""
    key = min(pools, key=lambda k: (rank(k), str(k)))
    return f"{key} {results[key].why}"


def _ran_out_of_resources(outcome: Outcome, crash: Crash | None, exhausted: str | None) -> bool:
    """True when the log names the exhausted resource. The advice is then about the retained resource, not the crash."""
    if outcome is Outcome.CRASHED:
        return crash is not None and crash.signature in EXHAUSTED
    return outcome is Outcome.STALLED and exhausted is not None


def _with_rate_limit_advice(trial: Trial, advice: str) -> str:
    """The advice, extended by how to avoid a rate limit that the load reached."""
    if not ledger_total(trial).rate_limited or RAISE_RATE_LIMIT in advice:
        return advice
    return f"{advice}; {RAISE_RATE_LIMIT}" if advice else RAISE_RATE_LIMIT


def _advice(
    outcome: Outcome, findings: Sequence[Finding], caveat: Caveat | None, crash: Crash | None, trial: Trial
) -> str:
    runtime = trial.target.runtime
    if outcome is Outcome.CRASHED and crash and crash.signature:
        return crashes.next_step(crash, runtime)
    if outcome in (Outcome.LEAKING, Outcome.CRASHED) and any(one.driver for one in findings):
        first = findings[0]
        held = held_of(trial.places, first.metric, first.rate.value if first.rate else 0.0)
        step = next_step(first.driver, runtime, first.metric, first.kind, held, first.recipe)
        mapped = mapped_text(trial) if first.metric == "mappings" else ""
        return f"{step}; {mapped}" if mapped else step
    if outcome is Outcome.CRASHED and crash:
        return crashes.next_step(crash, runtime)
    if outcome is Outcome.STALLED and (advice := advice_of(trial)):
        return advice
    if outcome is Outcome.STALLED:
        check = "check that the handler sends as it goes: buffering, a lock, an upstream that does not answer"
        if clients := more_than_served(trial):
            return (
                f"{clients} clients at once were more than it serves: if each stream needs a worker, pass "
                f"--concurrency with the number of workers, or give it more; else {check}"
            )
        return check
    if outcome is Outcome.OVER_CEILING:
        return "the report lists what the idle service still holds; release it, or raise the ceiling in the budget file"
    if outcome is Outcome.INCONCLUSIVE and caveat:
        return caveat.advice
    return ""
