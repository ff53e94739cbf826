"""The table of README.md from a saved run of ``harness reproduce``: ``python -m tools.readme_table run.json``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.core.record import RunRecord, Trial
from harness.core.record_codec import from_dict
from harness.report.row import build_row

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- reproduce: begin (make readme-table) -->", "<!-- reproduce: end -->"
HEADINGS = ("profile", "outcome", "after", "descriptors", "crash signature", "what the analysis said")


def table(record: RunRecord) -> str:
    """Markdown: one row per trial, and the date of the run and the machine's cores above it."""
    day, cores = record.started_at[:10], record.machine.get("cores", "?")
    claims = [note for trial in record.trials if (note := _claim(trial))]
    return "\n".join(
        [
            f"Measured on {day} on {cores} cores:",
            "",
            _cells(HEADINGS),
            "|" + "---|" * len(HEADINGS),
            *map(_line, record.trials),
            *(["", *(f"{note}." for note in dict.fromkeys(claims))] if claims else []),
        ]
    )


def _line(trial: Trial) -> str:
    row = build_row(trial)
    signature = row.signature.partition(": ")[0]
    streams = ", streaming" if any(o.ledger.events for o in trial.observations) and trial.exit else ""
    return _cells(
        (
            row.name,
            row.outcome.value,
            f"{row.seconds}, {row.connections} connections{streams}",
            re.sub(r"(tcp-out) :\d+", r"\1", row.descriptors),  # a port of that run alone
            signature,
            row.said,
        )
    )


def _cells(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _claim(trial: Trial) -> str:
    """``solution-2 is later than solution-1: not tested (…)``; empty where the profile is compared with none."""
    found = re.search(r"later than .*", str(trial.extra.get("note", "")))
    return f"{trial.extra.get('profile')} crashes {found[0]}" if found else ""


def replaced(text: str, made: str) -> str:
    """README with the table between its markers. Raises ValueError where a marker is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md: expected {BEGIN} and {END}, each on a line of its own")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main() -> None:
    """Write the table of the run named on the command line into README.md."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.readme_table RUN.json")
    record = from_dict(json.loads(Path(sys.argv[1]).read_text()))
    README.write_text(replaced(README.read_text(), table(record)))


if __name__ == "__main__":
    main()
