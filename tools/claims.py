"""docs/claims.md, docs/claims.json and the table of README.md from a run of ``harness reproduce --all``.

``python -m tools.claims [RUN]``: RUN is the folder of such a run, or its ``claims.json``; without it, docs/claims.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.core.claims_record import ClaimsRecord, to_dict
from harness.core.errors import HarnessError
from harness.core.record_codec import dumps
from harness.experiment.claims import STATE, load
from harness.report.claims import render_markdown
from tools.readme_table import README, replaced, table

DOCS = Path(__file__).parents[1] / "docs"
DATA, PAGE = DOCS / "claims.json", DOCS / "claims.md"
HEAD = """# Every claim of the analysis, measured

The root cause analysis of the crash ([background](background.md)) made claims: what leaks, what crashes, which fix
helps. Each row is one of them, or a claim of this project about one of its own defects, with what
`harness reproduce --all` measured. `make claims` runs it and writes this page and the table of README.md; the data is
in [claims.json](claims.json). An interrupted run continues with `harness reproduce --all --resume DIR`.

*Confirmed* and *refuted* speak of the claim, not of the service: a fix that does not prevent the crash refutes the
claim that it does. Times and connections are medians with their range. Growth is the mean over the repeats with its
95 % interval. A share of crashes has its exact 95 % interval.

"""


def page(record: ClaimsRecord) -> str:
    """The text of docs/claims.md."""
    return HEAD + render_markdown(record)


def main() -> None:
    """Write the page, its data and the table of README.md."""
    if len(sys.argv) > 2:
        sys.exit("usage: python -m tools.claims [RUN]")
    given = Path(sys.argv[1]) if len(sys.argv) == 2 else DATA
    try:
        record = load(given / STATE if given.is_dir() else given)
    except HarnessError as error:
        sys.exit(f"tools.claims: {error}")
    DATA.write_text(dumps(to_dict(record), indent=1) + "\n")
    PAGE.write_text(page(record))
    README.write_text(replaced(README.read_text(), table(record)))


if __name__ == "__main__":
    main()
