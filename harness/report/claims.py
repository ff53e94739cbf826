"""The table of claims: the same rows in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.claims import Row, outcomes
from harness.core.claims_record import ClaimsRecord, counts
from harness.core.measurement import Measurement
from harness.core.quote import markdown
from harness.core.stats.distributions import mean_interval, median
from harness.core.units import bytes_text
from harness.report.page import environment, policy

MAX_GROWTH = 4  # kinds of growth in one cell, those that grow most first
# Kinds of memory that are not counts.
BYTE_KINDS = ("heap-bytes", "external-bytes", "anonymous", "rss", "uss")
HEADINGS = (
    "claim",
    "how it was tested",
    "measured",
    "time to failure",
    "connections",
    "growth",
    "conclusion",
)


def cells(row: Row, record: ClaimsRecord) -> tuple[str, ...]:
    """The texts of a row, in the order of HEADINGS; not escaped."""
    claim = row.claim
    return (
        f"{claim.claim} ({claim.section})",
        "; ".join(
            f"{name} × {min(len(record.measured.get(name, ())), need)}: {record.tests.get(name, '')}"
            for name, need in claim.trials
        )
        or "–",
        _measured(row),
        time_to_failure(row.measured),
        connections(row.measured),
        growth(row.measured) or "–",
        f"{row.conclusion.value}: {row.reason}",
    )


def _measured(row: Row) -> str:
    return "; ".join(part for part in (outcomes(row), signatures(row.measured)) if part) or "–"


def signatures(measured: Sequence[Measurement]) -> str:
    """The crash signatures, most frequent first."""
    found = [one.signature for one in measured if one.signature]
    return ", ".join(
        f"{name}{f' × {found.count(name)}' if len(set(found)) > 1 else ''}"
        for name in sorted(set(found), key=lambda name: (-found.count(name), name))
    )


def time_to_failure(measured: Sequence[Measurement]) -> str:
    """``4.6 s (3.9 to 5.2)``: median and range of the crashes; without a crash, how long the runs lasted."""
    times = [one.seconds for one in measured if one.crashed]
    if times:
        return f"{_spread(times, 1)} s" if len(times) < 2 else _spread(times, 1, " s")
    return f"no crash in {_spread([one.seconds for one in measured], 0, ' s')}" if measured else "–"


def connections(measured: Sequence[Measurement]) -> str:
    """Streams opened until the crash, or in all: median and range."""
    crashed = [one.connections for one in measured if one.crashed]
    return _spread(crashed or [one.connections for one in measured], 0) if measured else "–"


def _spread(values: Sequence[float], digits: int, unit: str = "") -> str:
    middle = f"{median(values):.{digits}f}{unit}"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return middle if low == high else f"{middle} ({low} to {high})"


def growth(measured: Sequence[Measurement]) -> str:
    """``+1.00 eventfd (1.00 to 1.00) per check``: mean over the repeats, and its 95 % interval."""
    found: dict[tuple[str, str], list[float]] = {}
    for one in measured:
        for grown in one.growth:
            found.setdefault((grown.kind, grown.unit), []).append(grown.value)
    shown = [
        (mean_interval(values), kind, unit)
        for (kind, unit), values in found.items()
        if 2 * len(values) >= len(measured)  # what grew in single repeats is noise
    ]
    shown.sort(key=lambda item: (item[2], -item[0][0]))
    return ", ".join(
        f"+{_amount(kind, mean)} {kind} ({_amount(kind, low)} to {_amount(kind, high)}) per {unit}"
        for (mean, low, high), kind, unit in shown[:MAX_GROWTH]
    )


def _amount(kind: str, value: float) -> str:
    return bytes_text(value) if kind.endswith(BYTE_KINDS) else f"{value:.3g}"


def headline(record: ClaimsRecord) -> str:
    """``60 claims: 41 confirmed, 14 refuted, …``."""
    rows = record.rows()
    return f"{len(rows)} claims: " + ", ".join(
        f"{count} {name.value}" for name, count in counts(rows).items() if count
    )


def provenance(record: ClaimsRecord) -> str:
    """When, where and how it was measured."""
    cores = record.machine.get("cores", "?")
    repeats = sum(record.repeats_done().values())
    return (
        f"Measured on {record.started_at[:10]} on {cores} cores: {repeats} repeats in {record.seconds / 60:.0f} min, "
        f"{record.jobs} at a time"
    )


def render_markdown(record: ClaimsRecord) -> str:
    """The table, with its date above it and the unexpected repeats below it."""
    lines = [f"{provenance(record)}. {headline(record)}.", ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(map(markdown, cells(row, record))) + " |" for row in record.rows()]
    if unexpected_results := record.unexpected_results():
        lines += ["", "Repeats that did not end as their profile describes:", ""]
        lines += [f"- {markdown(line)}" for line in unexpected_results]
    return "\n".join(lines) + "\n"


def render_html(record: ClaimsRecord) -> str:
    """One page without scripts or network."""
    rows = [(row.conclusion.name.lower().replace("_", "-"), cells(row, record)) for row in record.rows()]
    return (
        environment()
        .get_template("claims.html.j2")
        .render(
            record=record,
            provenance=provenance(record),
            headline=headline(record),
            headings=HEADINGS,
            rows=rows,
            unexpected_results=record.unexpected_results(),
            policy=policy(),
        )
    )
