"""Reproduces the crash and its fixes: one trial per profile of the reference service, and what confirms it.

The profiles, their loads and their expected outcomes come from the service itself
(``reference-service --describe``): the harness does not import a target.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.claims import Claim
from harness.core.claims_record import structure_claims
from harness.core.cycle import CycleSpec, Phase
from harness.core.design import ordinary_cycle
from harness.core.errors import OptionError, TargetError
from harness.core.plan import Goal, Stop, next_step
from harness.core.record import About, Trial
from harness.core.stats.ratio import MIN_RUNS, factor
from harness.core.units import counted, did_you_mean
from harness.core.verdict import Outcome
from harness.experiment.broker import BrokerSetup
from harness.experiment.guard import goal_of
from harness.experiment.options import request_of
from harness.experiment.setup import Steps, TrialSetup
from harness.experiment.target_runtime import RuntimeSetup

DEFAULT_PROFILES = ("original", "upstream", "solution-1", "solution-2", "solution-3", "fixed")
DESCRIBE_TIMEOUT = 20.0  # seconds, of which the imports of the service's framework take most
NOFILE = 1024  # RLIMIT_NOFILE of the reference service
# Seconds: the service gives its streams 2 s and its ZeroMQ process 2 s, and the machine may be busy.
GRACE = 6.0
REAL_SECONDS = 90.0  # three times the 30 s after which the original crashes
REAL_DWELL = 40.0  # seconds that clients stay: beyond the crash, so that none disconnects before it
LATER_THAN = {"solution-2": "solution-1"}  # according to the analysis, it "crashed less often"


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """One profile as the reference service describes it. in_log: a regular expression that a line of the log must
    match after a crash (empty: none), with one of ``returncodes``. no_events: no event may reach a client; None:
    nothing is expected of events. load: connections (per cycle), concurrency, dwell (seconds), events, cycles, settle
    and seconds (budget of the trial), sensitivity, disconnect, paths."""

    name: str
    summary: str
    claim: str
    broker: str
    expected: Outcome
    in_log: str
    returncodes: tuple[int, ...]
    no_events: bool | None
    load: Mapping[str, Any]
    parts: tuple[str, ...] = ()  # its defects, mitigations and times
    profile: str = ""  # the profile whose service runs, if it is another one
    also: tuple[Outcome, ...] = ()  # other expected outcomes
    arguments: tuple[str, ...] = ()  # additional arguments of the service
    real_time: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue that the reference service prints. variations: profiles under other conditions, by name. claims:
    the claims, each with the profiles or variations that test it."""

    profiles: Mapping[str, ProfileSpec]
    variations: Mapping[str, ProfileSpec]
    claims: tuple[Claim, ...]

    def spec(self, name: str) -> ProfileSpec:
        """The profile or variation of that name."""
        return self.variations[name] if name in self.variations else self.profiles[name]


@dataclass(frozen=True, slots=True)
class LoadOverrides:
    """The options that replace those of a profile; None: as the profile recommends."""

    connections: int | None = None
    concurrency: int | None = None
    real_time: bool = False
    max_seconds: float | None = None


def describe() -> dict[str, ProfileSpec]:
    """Every profile of the reference service by name. Raises TargetError when it does not describe itself."""
    return dict(catalogue().profiles)


def catalogue() -> Catalogue:
    """Profiles, variations and claims of the reference service. Raises TargetError when it does not describe itself."""
    try:
        answer = subprocess.run(
            # -P: a module named harness in the working directory must not be imported instead.
            [sys.executable, "-P", "-m", "harness.reference", "--describe"],
            capture_output=True,
            timeout=DESCRIBE_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"the reference service did not describe itself within {DESCRIBE_TIMEOUT:g} s; try: harness doctor"
        ) from None
    if answer.returncode != 0:
        words = answer.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise TargetError(
            f"the reference service cannot run ({words[0]}); expected it to be installed: "
            "pip install starlette uvicorn sse-starlette"
        )
    described = json.loads(answer.stdout)
    return Catalogue(
        {spec.name: spec for spec in map(_profile_spec, described["profiles"])},
        {spec.name: spec for spec in map(_variation, described["variations"])},
        structure_claims(described["claims"]),
    )


def _variation(data: Mapping[str, Any]) -> ProfileSpec:
    return replace(
        _profile_spec(data["profile"]),
        profile=data["of"],
        arguments=tuple(data["arguments"]),
        real_time=data["real_time"],
    )


def _profile_spec(data: Mapping[str, Any]) -> ProfileSpec:
    return ProfileSpec(
        name=data["name"],
        summary=data["summary"],
        claim=data["claim"],
        broker=data["broker"],
        expected=Outcome(data["expected"]),
        in_log=data["in_log"],
        returncodes=tuple(data["returncodes"]),
        no_events=None if data["streams"] is None else not data["streams"],
        load=data["load"],
        also=tuple(map(Outcome, data["also"])),
        parts=(*data["defects"], *data["mitigations"], *(f"{k}={v}" for k, v in data["times"].items())),
    )


def choose(specs: Mapping[str, ProfileSpec], names: Sequence[str]) -> list[ProfileSpec]:
    """The profiles with these names, in the same order. Raises ConfigError for an unknown name."""
    for name in names:
        if name not in specs:
            raise OptionError(
                "profile",
                name,
                f"no such profile{did_you_mean(name, specs)}; expected one of: {', '.join(sorted(specs))}",
            )
    return [specs[name] for name in names]


def setup_for(spec: ProfileSpec, overrides: LoadOverrides, *, name: str | None = None) -> TrialSetup:
    """The trial of one profile, under its own load unless the user asked for another."""
    load = spec.load
    flags = (*(("--real-time",) if overrides.real_time else ()), *spec.arguments)
    paths = tuple(load["paths"])
    cycles = int(load["cycles"])
    connections = int(load["connections"])
    concurrency = overrides.concurrency or int(load["concurrency"])
    if overrides.connections:
        # The width of a cycle stays that of the profile, so that its defects show as described; their number changes.
        cycles = max(1, round(overrides.connections / connections))
    seconds = REAL_SECONDS if overrides.real_time else float(load["seconds"])
    dwell = REAL_DWELL if overrides.real_time else float(load["dwell"])
    request = request_of(
        url=["http://127.0.0.1:{port}" + path for path in paths],
        command=(
            *(sys.executable, "-P", "-m", "harness.reference", "--profile", spec.profile or spec.name),
            *("--port", "{port}", "--broker", "{broker}", *flags),
        ),
        # The usual default of a service, whatever this machine's limit is: some crashes are those of running into it.
        nofile=NOFILE,
        ready="http://127.0.0.1:{port}/",
        preflight=False,
        grace=GRACE,
        connections=connections,
        concurrency=concurrency,
        dwell=dwell,
        events=int(load["events"]),
        disconnect=str(load["disconnect"]),
        # Longer than any stream lives, because the silent broker makes healthy streams stall as well.
        stall_after=dwell * 2,
        cycles=cycles,
        max_time=overrides.max_seconds or seconds,
        settle=float(load["settle"]),
        sensitivity=float(load["sensitivity"]),
        settle_timeout=10.0,
        retention=0.0,
    )
    # A verdict on memory without runtime counters takes minutes, so the trial ends with the bound so far.
    goal = replace(goal_of(request), memory=False, search=False, hold=0.0)
    return TrialSetup(
        name=name or spec.name,
        request=request,
        steps=_steps(spec, goal),
        broker=BrokerSetup(behaviour=spec.broker),
        runtime=RuntimeSetup(str(load.get("runtime") or "none")),
        about=About(
            profile=spec.name,
            summary=spec.summary,
            claim=spec.claim,
            expected=spec.expected.value,
            expected_in_log=spec.in_log,
            scale="real" if overrides.real_time else "scaled",
            ramp=tuple(load.get("ramp") or ()),
        ),
    )


def _steps(spec: ProfileSpec, goal: Goal) -> Steps:
    """The plan of a profile. One that is expected to crash or to leak runs its cycles as they are. One that is
    expected to be bounded, or whose growth only runtime counters show, uses the plan of a guard, which begins with a
    warm-up."""

    ramp, sizes = tuple(spec.load.get("ramp") or ()), tuple(spec.load.get("sizes") or (1,))

    def as_requested(trial: Trial) -> CycleSpec | Stop:
        done = len(trial.observations)
        if done >= (len(ramp) or goal.cycles):
            return Stop(f"{counted(done, 'cycle')} done, as asked")
        step = ordinary_cycle(trial, goal, Phase.LOAD)
        if ramp:
            return replace(step, connections=ramp[done], concurrency=ramp[done])
        # Larger cycles are wider, not longer, so that growth per second does not look like growth per stream.
        size = sizes[done % len(sizes)]
        return replace(step, connections=step.connections * size, concurrency=step.concurrency * size)

    if ramp:
        return as_requested
    planned = spec.expected is Outcome.BOUNDED or spec.load.get("runtime", "none") != "none"
    return (lambda trial: next_step(trial, goal)) if planned else as_requested


def confirmed(trial: Trial, spec: ProfileSpec) -> tuple[bool, str]:
    """Whether a judged trial ended as the profile says it must, and if not, why not."""
    verdict = trial.verdict
    assert verdict
    if verdict.outcome not in (spec.expected, *spec.also):
        return False, f"expected {spec.expected.value}, saw {verdict.outcome.value}"
    code = trial.exit.returncode if trial.exit else trial.about.stopped_with
    if code not in spec.returncodes and not trial.interrupted:
        return False, f"expected return code {' or '.join(map(str, spec.returncodes))}, saw {code}"
    lines = trial.exit.log_tail if trial.exit else trial.about.last_lines
    # An abort logs its reason. But if two threads fault at once, the second ends the process before the handler of the
    # first has written anything, because faulthandler restores the default action before it writes.
    by_signal = bool(trial.exit and trial.exit.returncode and trial.exit.returncode < 0)
    silent = by_signal and (code != -signal.SIGABRT or not lines)
    if spec.in_log and not silent and not any(re.search(spec.in_log, line) for line in lines):
        return False, f"no line of its log matches {spec.in_log}"
    events = sum(o.ledger.events for o in trial.observations)
    if spec.no_events and events:
        return False, f"expected no event to reach a client, saw {events}"
    if spec.no_events is False and not events:
        return False, "expected events to reach the clients, saw none"
    return True, f"{counted(events, 'event')} arrived" if events else "no event ever arrived"


def with_comparisons(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, with the results of the claims that compare two profiles, over all runs of both. A claim that its
    repeats refute removes the confirmation; one with too few repeats is noted as not tested."""
    seconds_to_crash: dict[str, list[float]] = {}
    for trial in trials:
        if trial.exit and trial.exit.at > 0:
            seconds_to_crash.setdefault(trial.about.profile, []).append(trial.exit.at)
    compared = []
    for trial in trials:
        name = trial.about.profile
        before = LATER_THAN.get(name)
        if before is None or name not in seconds_to_crash or before not in seconds_to_crash:
            compared.append(trial)
            continue
        refuted, claim = crashes_later(seconds_to_crash[name], seconds_to_crash[before], before)
        note = f"{trial.about.note}; {claim}" if trial.about.note else claim
        good = False if refuted else trial.about.confirmed
        compared.append(replace(trial, about=replace(trial.about, note=note, confirmed=good)))
    return compared


def crashes_later(later: Sequence[float], earlier: Sequence[float], name: str) -> tuple[bool, str]:
    """Whether the claim "crashes later than ``name``" is refuted, and its text with the evidence. later, earlier:
    seconds until the crash, one per run, of the profile and of ``name``."""
    tested = factor(later, earlier)
    if tested is None:
        repeats = f"{counted(min(len(later), len(earlier)), 'run')} of each; --repeat {MIN_RUNS} tests it"
        return False, f"later than {name}: not tested ({repeats})"
    ratio, low, high = tested
    verdict = "confirmed" if low > 1 else "refuted" if high < 1 else "not shown"
    return high < 1, f"later than {name}: {verdict}, {ratio:.2g} x the time (95 %: {low:.2g} to {high:.2g})"
