"""junit.xml: one test case per trial, in the form that CI systems read."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from harness.core.quote import xml, xml_time
from harness.core.record import RunRecord
from harness.core.verdict import Outcome
from harness.report.facts import facts_of
from harness.report.log import log_tail


def render(record: RunRecord) -> str:
    """A leak, stall or crash is a failure, a harness error an error, an inconclusive trial skipped; a trial that
    ended as expected passes."""
    suite = ET.Element("testsuite", name="harness")
    if started := xml_time(record.started_at):
        suite.set("timestamp", started)
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for trial in record.trials:
        if not trial.verdict:
            continue
        counts["tests"] += 1
        verdict = trial.verdict
        case = ET.SubElement(
            suite,
            "testcase",
            classname="harness",
            name=xml(trial.name),
            time=f"{trial.ended - trial.started:.3f}",
        )
        expected = trial.about.confirmed
        kind = None
        # A trial with an expected outcome passes when it ends that way, even by a crash.
        if expected is False or (expected is None and verdict.exit_code == 1):
            kind, name = "failure", "failures"
        elif expected is None and verdict.outcome is Outcome.INFRASTRUCTURE:
            kind, name = "error", "errors"
        elif expected is None and verdict.outcome is Outcome.INCONCLUSIVE:
            kind, name = "skipped", "skipped"
        if kind:
            counts[name] += 1
            facts = facts_of(trial)
            mark = ET.SubElement(
                case, kind, message=xml(f"{facts.word}  {facts.headline}"), type=verdict.outcome.value
            )
            mark.text = "\n".join(map(xml, facts.lines()))
            log = log_tail(trial, 20)
            if log:
                ET.SubElement(case, "system-err").text = "\n".join(map(xml, log))
    for name, count in counts.items():
        suite.set(name, str(count))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"
