"""GitHub Actions: annotations by workflow commands, and the step summary.

Source: "Workflow commands for GitHub Actions" in GitHub's documentation; the escapes are those of its
toolkit (actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.core.quote import workflow_data, workflow_property
from harness.core.record import RunRecord, Trial
from harness.core.verdict import Outcome
from harness.report import markdown
from harness.report.facts import facts_of

MAX_ANNOTATION = 4000  # characters of one annotation: GitHub cuts at 4 KB
SUMMARY = 1 << 20  # bytes of a step summary
_PLACE = re.compile(
    r"(?<![\w./-])(?P<file>[\w./-]{0,400}\w\.(?:py|go|js|ts|mjs|cjs|java|kt|rs|rb|c|cc|cpp)):(?P<line>\d+)"
)
_LEVEL = {Outcome.BOUNDED: "notice", Outcome.INCONCLUSIVE: "warning"}


def workflow_commands(record: RunRecord, root: str = "") -> Iterator[str]:
    """One workflow command per judged trial: error, warning or notice, at the line where it leaks if known.

    root: the checkout (GITHUB_WORKSPACE); GitHub shows an annotation only at a path relative to it.
    """
    for trial in record.trials:
        if trial.verdict:
            yield _annotation(trial, f"{root.rstrip('/')}/" if root else "")


def _annotation(trial: Trial, root: str) -> str:
    verdict = trial.verdict
    assert verdict
    level = _LEVEL.get(verdict.outcome, "error")
    properties = {"title": f"harness: {trial.name}: {verdict.outcome.value}"}
    places = [place for finding in verdict.findings for place in finding.where]
    matches = [match for place in places if (match := _PLACE.search(place))]
    # An annotation is visible only in a file of the checkout, so those places come first.
    ours = [match for match in matches if root and match["file"].startswith(root)]
    found = next(iter([*ours, *matches]), None)
    if found:
        properties |= {"file": found["file"].removeprefix(root), "line": found["line"]}
    text = ",".join(f"{name}={workflow_property(value)}" for name, value in properties.items())
    # Each line is quoted separately; %0A is the line break of an annotation.
    message = "%0A".join(workflow_data(line) for line in facts_of(trial, root=root).lines())
    return f"::{level} {text}::{_cut(message)}"


def _cut(message: str) -> str:
    """At most MAX_ANNOTATION characters, with "…" in place of the rest; an escape such as %0A is never cut in two."""
    if len(message) <= MAX_ANNOTATION:
        return message
    return re.sub(r"%[0-9A-F]?$", "", message[: MAX_ANNOTATION - 1]) + "…"


def summary(record: RunRecord) -> str:
    """Markdown to append to the file that GITHUB_STEP_SUMMARY names."""
    text = markdown.render(record)
    if len(text.encode()) > SUMMARY:
        # Leaves room for the note at the end.
        text = text.encode()[: SUMMARY - 100].decode(errors="ignore") + "\n\n(cut)\n"
    return text
