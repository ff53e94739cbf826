"""One paragraph for people: what was found, with numbers, the cause, where in the code, when it falls over,
and the one next step. Plain text, made safe for a terminal."""

from __future__ import annotations

from harness.core.record import Trial
from harness.core.verdict import Finding
from harness.report.text import safe
from harness.report.words import number

PLACES = 3  # of the code, named in the paragraph; the report has them all
LOG_LINES = 8
WORTH_SAYING = ("budgets: ", "exception until ", "SIGTERM did not end it", "its log passed ")


def paragraph(trial: Trial) -> str:
    """The whole verdict of a judged trial in a few sentences."""
    verdict = trial.verdict
    if verdict is None:
        return "not judged: the run ended before its verdict"
    sentences = [f"{verdict.outcome.value.upper()}: {verdict.explanation}"]
    if verdict.findings:
        first = verdict.findings[0]
        sentences += [text for text in (_interval(first), _where(first)) if text]
        if len(verdict.findings) > 1:
            also = ", ".join(name(finding) for finding in verdict.findings[1:6])
            more = len(verdict.findings) - 6
            sentences.append(f"Also: {also}{f' and {more} more' if more > 0 else ''}")
    if verdict.advice:
        sentences.append(f"Next: {verdict.advice}")
    return safe(" ".join(_ended(sentence) for sentence in sentences), 4000)


def name(finding: Finding) -> str:
    """``+1 fds/eventfd per connection``, or what passed a ceiling."""
    what = f"{finding.metric}/{finding.kind}" if finding.kind else finding.metric
    if finding.rate is None:
        return f"{what} {finding.status}"
    amount, _, per = finding.rate.unit.partition("/")
    unit = f" {amount} of" if amount == "B" else ""
    return f"+{number(finding.rate.value)}{unit} {what} per {per}"


def log_tail(trial: Trial, lines: int = LOG_LINES) -> list[str]:
    """The last lines that the service wrote: what it said before its end, else when the trial ended."""
    kept = trial.exit.log_tail if trial.exit else trial.extra.get("last_words")
    said = kept if isinstance(kept, list | tuple) else ()
    return [line for text in said if (line := safe(str(text), 300).strip())][-lines:]


def notes(trial: Trial) -> list[str]:
    """Where the budgets came from, which exceptions were in them, and what ground the service left."""
    return [safe(note) for note in trial.notes if note.startswith(WORTH_SAYING)]


def _interval(finding: Finding) -> str:
    rate = finding.rate
    if rate is None or not rate.high > 0:
        return ""
    return f"95 % interval {number(rate.low)} to {number(rate.high)} {rate.unit}"


def _where(finding: Finding) -> str:
    places = [place for place in finding.where if place][:PLACES]
    return f"Where: {'; '.join(places)}" if places else ""


def _ended(sentence: str) -> str:
    text = sentence.strip()
    return text if text.endswith((".", "!", "?", "…")) else text + "."
