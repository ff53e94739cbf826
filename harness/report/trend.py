"""Changes over many runs, and two runs compared, as plain text and as Markdown for a comment."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core import quote
from harness.core.stats.changepoint import BASE, MIN_RUNS
from harness.core.trends import Comparison, Difference, Series, SeriesChange
from harness.core.units import bytes_text, counted
from harness.report.words import number, signed

SHORT = 10  # characters of a commit
MIN_SERIES = BASE + MIN_RUNS  # runs: those of the level before a change, and those that it must last
MAX_ROWS = 30  # rows of a comment: GitHub takes 65,536 characters


def rate(value: float) -> str:
    """``0.00`` ``0.21`` ``1,024``: two decimals at least, so that a rise from zero reads as one."""
    return f"{value:.2f}" if 0.005 <= abs(value) < 100 or value == 0 else number(value)


def amount(value: float, unit: str) -> str:
    """A rate in its unit: ``0.21`` of ``fds/connection``, ``10.6 kB`` of ``B/connection``."""
    if not unit.startswith("B/"):
        return rate(value)
    return f"{'-' if value < 0 else ''}{bytes_text(abs(value))}"


def difference(value: float, unit: str) -> str:
    """The same with its sign: ``+0.21``, ``+9.3 kB``."""
    if not unit.startswith("B/"):
        return signed(value)
    return f"{'+' if value >= 0 else ''}{amount(value, unit)}"


def level(mean: tuple[float, float, float], unit: str) -> str:
    """A mean rate; 0.00 where its interval holds zero."""
    return amount(0.0 if mean[1] <= 0 <= mean[2] else mean[0], unit)


def levels(found: SeriesChange) -> str:
    """``0.00 → 0.21 fds/connection``, ``0 B → 10.6 kB per connection``."""
    unit = found.series.unit
    return f"{level(found.change.before, unit)} → {level(found.change.after, unit)} {_unit(unit)}"


def commit(found: SeriesChange, *, after: bool) -> str:
    """The commit of the run after or before the change; its start where no commit is known."""
    entry = found.after if after else found.before
    dirty = "+" if entry.dirty else ""
    return (entry.commit[:SHORT] + dirty) if entry.commit else f"run {entry.run_id}"


def sentence(found: SeriesChange) -> str:
    """``rate of fds/eventfd per connection rose from 0.00 to 0.21 between commit a1b2c3 and d4e5f6, 12 runs ago``."""
    change = found.change
    verb = "rose" if change.rose else "fell"
    per = found.series.unit.rpartition("/")[2]
    old, new = commit(found, after=False), commit(found, after=True)
    between = (
        f"at commit {new}"
        if old == new
        else f"between {'' if old.startswith('run') else 'commit '}{old} and {new}"
    )
    return (
        f"rate of {found.series.name} per {per} {verb} from "
        f"{level(change.before, found.series.unit)} to {level(change.after, found.series.unit)} "
        f"{between}, {counted(found.ago, 'run')} ago"
    )


def certainty(found: SeriesChange) -> str:
    """Confidence, and between which runs the change can lie."""
    change = found.change
    points = found.series.points
    text = f"confidence {_confidence(change.confidence)}"
    if change.earliest != change.latest:
        first, last = points[change.earliest][0], points[change.latest][0]
        text += f"; first run between {first.started_at[:10]} and {last.started_at[:10]} (95 %)"
    return text


def _confidence(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.999 else "above 99.9 %"


def lines(found: Sequence[SeriesChange], series: Sequence[Series]) -> list[str]:
    """For a terminal."""
    longest = max((len(one.points) for one in series), default=0)
    text = [f"{len(series)} series, up to {counted(longest, 'run')}" if series else "no runs to compare"]
    if series and longest < MIN_SERIES:
        text.append(f"a change needs at least {MIN_SERIES} runs of one series")
    for one in found:
        kind = "REGRESSION" if one.open else "better" if not one.change.rose else "was reverted"
        text.append(f"{kind}: {one.series.where}: {sentence(one)}")
        text.append(f"    {certainty(one)}")
        text += [f"    also changed: {condition}" for condition in one.conditions()]
    if series and not found:
        text.append("no change")
    return text


def markdown(found: Sequence[SeriesChange], series: Sequence[Series]) -> str:
    """A comment for a pull request."""
    regressions = [one for one in found if one.open]
    head = f"{counted(len(regressions), 'open regression')}" if regressions else "no open regression"
    text = [f"### Leak trend: {head}", ""]
    if found:
        text += ["| | service | metric | change | commits | runs ago |", "|---|---|---|---|---|---|"]
    for one in found[:MAX_ROWS]:
        sign = "🔴" if one.open else "🟢" if not one.change.rose else "⚪"
        cells = (
            sign,
            one.series.where,
            one.series.name,
            levels(one),
            f"{commit(one, after=False)} → {commit(one, after=True)}",
            str(one.ago),
        )
        text.append("| " + " | ".join(quote.markdown(cell) for cell in cells) + " |")
    if len(found) > MAX_ROWS:
        text.append(f"\nand {len(found) - MAX_ROWS} more")
    notes = [
        f"{one.series.name}: {condition}" for one in regressions[:MAX_ROWS] for condition in one.conditions()
    ]
    if notes:
        text += ["", "Also changed at a regression:", *(f"- {quote.markdown(note)}" for note in notes)]
    longest = max((len(one.points) for one in series), default=0)
    text += [
        "",
        f"{len(series)} series of up to {counted(longest, 'run')}. 🔴 open, 🟢 better, ⚪ reverted.",
    ]
    return "\n".join(text) + "\n"


def _unit(unit: str) -> str:
    """The text after a rate: ``fds/connection``, and ``per connection`` where the amount has its unit."""
    return f"per {unit.partition('/')[2]}" if unit.startswith("B/") else unit


def interval(one: Difference) -> str:
    """``0.00 → 0.21 fds/connection (+0.21, 99 % interval +0.20 to +0.22)``, ``1.3 kB → 10.6 kB per connection (…)``."""
    low, high = difference(one.low, one.unit), difference(one.high, one.unit)
    return (
        f"{amount(one.old.rate, one.unit)} → {amount(one.new.rate, one.unit)} {_unit(one.unit)} "
        f"({difference(one.new.rate - one.old.rate, one.unit)}, 99 % interval {low} to {high})"
    )


def compared(comparison: Comparison) -> list[str]:
    """The comparison for a terminal: metrics that got worse, those that got better, and the number of the others."""
    text = [f"outcome: {name}: {old} → {new}" for name, old, new in comparison.outcomes]
    same = 0
    for one in comparison.differences:
        if one.worse or one.better:
            text.append(f"{'WORSE' if one.worse else 'better'}: {one.target}: {one.key}: {interval(one)}")
        else:
            same += 1
    if comparison.differences:
        text.append(f"no significant change: {counted(same, 'metric')}")
    text += [f"also changed: {condition}" for condition in comparison.conditions]
    return [*text, *(f"not compared: {one}" for one in comparison.missing)]
