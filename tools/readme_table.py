"""The table of README.md from a run of all claims; ``python -m tools.claims`` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.core.claims import Row, outcomes
from harness.core.claims_record import ClaimsRecord
from harness.core.quote import markdown
from harness.experiment.reproduce import DEFAULT_PROFILES, describe
from harness.report.claims import connections, growth, signatures, time_to_failure

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- reproduce: begin (make claims) -->", "<!-- reproduce: end -->"
HEADINGS = (
    "profile",
    "outcome",
    "time to failure",
    "connections",
    "growth",
    "crash signature",
    "what the analysis said",
)
COMPARED = "solution-2-later"  # the claim that compares two profiles


def table(record: ClaimsRecord, claims: Mapping[str, str] | None = None) -> str:
    """Markdown: one row per profile of ``make reproduce``. claims: what the analysis said, by profile; None: as the
    reference service describes it."""
    words = {name: spec.claim for name, spec in describe().items()} if claims is None else claims
    rows = {row.claim.name: row for row in record.rows()}
    lines = [_line(name, rows, record, words) for name in DEFAULT_PROFILES]
    compared = rows.get(COMPARED)
    note = (
        [
            f"The claim “{_sentence(compared.claim.claim)}” ({compared.claim.section}): "
            f"{markdown(compared.conclusion.value)}; {markdown(compared.reason)}."
        ]
        if compared
        else []
    )
    cores = record.machine.get("cores", "?")
    return "\n".join(
        [
            f"Measured on {record.started_at[:10]} on {cores} cores, median and range of the repeats:",
            "",
            _cells(HEADINGS),
            "|" + "---|" * len(HEADINGS),
            *lines,
            "",
            *note,
        ]
    ).rstrip()


def _line(name: str, rows: Mapping[str, Row], record: ClaimsRecord, claims: Mapping[str, str]) -> str:
    row, found = rows.get(name), record.measured.get(name, ())
    if row is None or not found:
        return _cells((name, "not measured yet", "–", "–", "–", "–", claims.get(name, "–")))
    return _cells(
        (
            name,
            outcomes(row),
            time_to_failure(found),
            connections(found),
            growth(found) or "–",
            signatures(found) or "–",
            claims.get(name, "–"),
        )
    )


def _sentence(text: str) -> str:
    return f"Solution 2 {text}" if text.startswith("crashed") else text


def _cells(texts: Iterable[str]) -> str:
    return "| " + " | ".join(map(markdown, texts)) + " |"


def replaced(text: str, made: str) -> str:
    """README with the table between its markers. Raises ValueError where a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md: expected {BEGIN} and {END}, each on a line of its own")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"
