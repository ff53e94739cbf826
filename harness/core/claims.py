"""Decides from the measurements of its trials whether a claim is confirmed, refuted or cannot be shown here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb

from harness.core.measurement import Measurement
from harness.core.stats.distributions import median, ratio_interval
from harness.core.stats.ratio import MIN_RUNS, factor
from harness.core.verdict import Outcome

CONFIDENCE = 0.95
# These rules need no verdict on growth: a crash is evident, and some rows expect that there is no verdict.
NEEDS_VERDICT = ("crashes", "as-described", "outcome")
TOLERANCE = 0.1  # by which a proportion that is called equal may differ
# Repeats of a side after which an interval that contains 1 shows that there is no difference.
ENOUGH_REPEATS = 20
BISECTIONS = 60  # halvings of an interval of length 1: more than a float can show

Measured = Mapping[str, Sequence[Measurement]]


class Conclusion(StrEnum):
    """The conclusion from the measurements of a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    NOT_SHOWN = "cannot be shown here"
    NOT_MEASURED = "not measured yet"


@dataclass(frozen=True, slots=True)
class Claim:
    """trials: profile or variation and the repeats it needs, the one that the row is about first. by: the rule that
    decides, a key of RULES. value: what the rule compares with. reason: why it cannot be shown (rule ``none``)."""

    name: str
    section: str
    claim: str
    by: str
    trials: tuple[tuple[str, int], ...] = ()
    value: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A claim with what follows. reason: the evidence in one line, or what it would take."""

    claim: Claim
    measured: tuple[Measurement, ...]
    conclusion: Conclusion
    reason: str


Rule = Callable[[Claim, Measured], tuple[Conclusion, str]]


def conclude(claim: Claim, measured: Measured, unmeasured: str = "the run ended before") -> Row:
    """The row of a claim. measured: by profile or variation. unmeasured: why repeats are missing."""
    about = tuple(measured.get(claim.trials[0][0], ())) if claim.trials else ()
    missing = [
        f"{min(len(measured.get(name, ())), need)} of {need} repeats of {name}"
        for name, need in claim.trials
        if len(measured.get(name, ())) < need
    ]
    # These two rules compare repeats with each other, so a part of them would give another answer.
    if claim.trials and (not about or (missing and claim.by in ("later", "proportional"))):
        return Row(claim, about, Conclusion.NOT_MEASURED, f"{', '.join(missing)}: {unmeasured}")
    doubt = _inconclusive(about) if claim.by in NEEDS_VERDICT else None
    conclusion, reason = doubt or RULES[claim.by](claim, measured)
    if missing:
        reason = f"{reason}; only {', '.join(missing)}: {unmeasured}"
    return Row(claim, about, conclusion, reason)


def _inconclusive(about: Sequence[Measurement]) -> tuple[Conclusion, str] | None:
    """A row never ends as inconclusive: it names what a verdict would take."""
    doubtful = [one for one in about if one.outcome == Outcome.INCONCLUSIVE.value and not one.expected]
    if not doubtful:
        return None
    share = f"{len(doubtful)} of {len(about)} repeats reached no verdict"
    return Conclusion.NOT_SHOWN, f"{share}; it would take: {doubtful[0].advice}"


def _crashes(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    count, total, text = _crash_share(measured[claim.trials[0][0]])
    return (Conclusion.CONFIRMED if count else Conclusion.REFUTED), f"crashed in {count} of {total}{text}"


def _prevents(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    about = measured[claim.trials[0][0]]
    count, total, text = _crash_share(about)
    if count:
        return Conclusion.REFUTED, f"crashed in {count} of {total}{text}"
    not_bounded = "" if all(one.outcome == Outcome.BOUNDED.value for one in about) else _outcomes(about)
    advice = next((f"; a verdict on growth would take: {one.advice}" for one in about if one.advice), "")
    return Conclusion.CONFIRMED, f"crashed in none of {total}{text}" + (
        f"; but {not_bounded}{advice}" if not_bounded else ""
    )


def _crash_share(about: Sequence[Measurement]) -> tuple[int, int, str]:
    """Crashes, repeats, and the interval of their share in words."""
    count, total = sum(one.crashed for one in about), len(about)
    low, high = share_interval(count, total)
    return count, total, f" (95 %: {low:.0%} to {high:.0%})"


def _as_described(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    about = measured[claim.trials[0][0]]
    good = [one for one in about if one.expected]
    if len(good) == len(about):
        return Conclusion.CONFIRMED, f"{len(good)} of {len(about)} as described: {about[0].note}"
    other = next(one for one in about if not one.expected)
    return Conclusion.REFUTED, f"{len(good)} of {len(about)} as described; otherwise {other.note}"


def _outcome(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    about = measured[claim.trials[0][0]]
    good = all(one.outcome == claim.value for one in about)
    return (Conclusion.CONFIRMED if good else Conclusion.REFUTED), _outcomes(about)


def _recognised(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    about = measured[claim.trials[0][0]]
    count = sum(claim.value in one.seen for one in about)
    text = f"signature {claim.value} found in {count} of {len(about)} logs"
    return (Conclusion.CONFIRMED if count == len(about) else Conclusion.REFUTED), text


def _within(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    low, high = map(float, claim.value.split())
    about = measured[claim.trials[0][0]]
    times = [one.seconds for one in about if one.crashed]
    count = sum(low <= at <= high for at in times)
    text = f"{count} of {len(about)} crashed {low:g} to {high:g} s after the start"
    if times:
        text += f"; median {median(times):.1f} s"
    return (Conclusion.CONFIRMED if count == len(about) else Conclusion.REFUTED), text


def _later(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    """Whether the first trial crashes less often: fewer crashes, or later ones."""
    (first, need), (second, _) = claim.trials
    shares = []
    for name in (first, second):
        count, total, text = _crash_share(measured[name])
        shares.append(f"{name} crashed in {count} of {total}{text}")
    lives = [[one.seconds for one in measured[name] if one.crashed] for name in (first, second)]
    tested = factor(*lives)
    if tested is None:
        text = f"{'; '.join(shares)}; fewer than {MIN_RUNS} crashes on a side"
        fewer = len(lives[1]) > len(lives[0]) and not lives[0]
        return (Conclusion.CONFIRMED if fewer else Conclusion.NOT_SHOWN), text
    ratio, low, high = tested
    conclusion, remark = _by_ratio(low, high, need)
    # The ratio comes first because it decides: where every run crashed, the shares alone would look like a refutation.
    text = (
        f"{first} took {ratio:.2f} times as long to crash as {second} (95 %: {low:.2f} to {high:.2f}){remark}"
    )
    return conclusion, "; ".join([text, *shares])


def _by_ratio(low: float, high: float, repeats: int) -> tuple[Conclusion, str]:
    """What the interval of a ratio of times to a crash shows, and a remark that follows it."""
    if low > 1:
        return Conclusion.CONFIRMED, ""
    if high < 1:
        return Conclusion.REFUTED, ": it crashed sooner"
    if repeats >= ENOUGH_REPEATS:
        return Conclusion.REFUTED, f": no difference over {repeats} repeats"
    return Conclusion.NOT_SHOWN, ": the interval contains 1, more repeats would narrow it"


def _proportional(claim: Claim, measured: Measured) -> tuple[Conclusion, str]:
    """value: components, and the interval in seconds."""
    components, interval = map(float, claim.value.split())
    pairs = [
        (checks, clients * components / interval)
        for one in measured[claim.trials[0][0]]
        for clients, checks in one.pace
    ]
    if len(pairs) < 2:
        return Conclusion.NOT_SHOWN, "no checks were counted; it would take a ramp of clients"
    slope, low, high = ratio_interval(pairs)
    clients = sorted({round(predicted * interval / components) for _, predicted in pairs})
    text = (
        f"{slope:.3f} × the product (95 %: {low:.3f} to {high:.3f}) with {clients[0]} to {clients[-1]} clients, "
        f"{max(checks for checks, _ in pairs):.0f} checks per second at most"
    )
    return (Conclusion.CONFIRMED if abs(slope - 1) <= TOLERANCE else Conclusion.REFUTED), text


def _none(claim: Claim, _: Measured) -> tuple[Conclusion, str]:
    return Conclusion.NOT_SHOWN, claim.reason


RULES: Mapping[str, Rule] = {
    "crashes": _crashes,
    "prevents": _prevents,
    "as-described": _as_described,
    "outcome": _outcome,
    "recognised": _recognised,
    "within": _within,
    "later": _later,
    "proportional": _proportional,
    "none": _none,
}


def _outcomes(about: Sequence[Measurement]) -> str:
    """``leaking in 5 of 5``."""
    counts = {name: sum(one.outcome == name for one in about) for name in {one.outcome for one in about}}
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} in {count} of {len(about)}" for name, count in shown)


def outcomes(row: Row) -> str:
    """The outcomes of a row's own trial with their counts; empty where nothing was measured, or where the trial is run
    for something else than a verdict."""
    return _outcomes(row.measured) if row.measured and row.claim.by != "proportional" else ""


def share_interval(count: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934), by bisection on the binomial."""
    tail = (1 - CONFIDENCE) / 2

    def at_most(limit: int, p: float) -> float:
        return sum(comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(limit + 1))

    def last_share(fits: Callable[[float], bool]) -> float:
        """The largest share that fits. fits: true up to there, false above."""
        low, high = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return (low + high) / 2

    least = 0.0 if count == 0 else last_share(lambda p: 1 - at_most(count - 1, p) < tail)
    most = 1.0 if count == total else last_share(lambda p: at_most(count, p) > tail)
    return least, most


def needed(claims: Sequence[Claim]) -> dict[str, int]:
    """Repeats of each trial, such that every claim has as many as it needs; in the order of the claims."""
    wanted: dict[str, int] = {}
    for claim in claims:
        for name, repeats in claim.trials:
            wanted[name] = max(wanted.get(name, 0), repeats)
    return wanted


def order(wanted: Mapping[str, int], done: Mapping[str, int]) -> list[tuple[str, int]]:
    """(trial, repeat from 0) still to be run: the first repeat of every trial before the second of any, so that a run
    that is cut short has measured every row."""
    return [
        (name, repeat)
        for repeat in range(max(wanted.values(), default=0))
        for name, need in wanted.items()
        if done.get(name, 0) <= repeat < need
    ]
