"""One paragraph for people: what was found, with numbers, the cause, where in the code, when it falls over,
and the one next step. Plain text on one line; whoever shows it quotes it for its format (harness.core.quote)."""

from __future__ import annotations

import re

from harness.core.metric import Key
from harness.core.quote import plain
from harness.core.record import Trial
from harness.core.units import counted
from harness.core.verdict import Finding, Outcome, Verdict
from harness.report.words import number, span

PLACES = 3  # of the code, named in the paragraph; the report has them all
LONGEST = 4000  # characters of a paragraph
LIKEWISE = (
    (Key("threads"), "thread"),
    (Key("tasks", "asyncio-task"), "task"),
    (Key("tasks", "goroutine"), "goroutine"),
    (Key("tasks", "handle"), "handle"),
    (Key("memory", "objects"), "live object"),
    (Key("memory", "heap-bytes"), "heap"),
    (Key("memory", "anonymous"), "memory"),
)
# Bounded, so that a text without spaces of any length is searched in linear time.
LINE_OF_CODE = re.compile(r"(?<!\S)\S{1,400}?\.\w{1,10}:[1-9]\d{0,8}")
WORTH_SAYING = ("budgets: ", "exception until ", "SIGTERM did not end it", "its log passed ")


def paragraph(trial: Trial) -> str:
    """The whole verdict of a judged trial in a few sentences."""
    verdict = trial.verdict
    if verdict is None:
        return "not judged: the run ended before its verdict"
    sentences = [f"{verdict.outcome.value.upper()}: {verdict.explanation}", _likewise(verdict)]
    if verdict.findings:
        first = verdict.findings[0]
        sentences += [_interval(first), _seen(trial), _where(first)]
        if len(verdict.findings) > 1:
            also = ", ".join(name(finding) for finding in verdict.findings[1:6])
            more = len(verdict.findings) - 6
            sentences.append(f"Also: {also}{f' and {more} more' if more > 0 else ''}")
    if verdict.advice:
        sentences.append(f"Next: {_at(verdict)}{verdict.advice}")
    return plain(" ".join(_ended(sentence) for sentence in sentences if sentence), LONGEST)


def _likewise(verdict: Verdict) -> str:
    """Of a pass: how little else could have stayed unseen, in the metrics that people know."""
    if verdict.outcome is not Outcome.BOUNDED:
        return ""
    told: list[str] = []
    hourly: list[str] = []
    for key, word in LIKEWISE:
        for bound in verdict.bounds:
            if bound.scope != "after-disconnect" or bound.status == "observed":
                continue
            if (bound.metric, bound.kind) == (key.metric, key.kind):
                most = f"{bound.at_most:.2g}" if bound.at_most < 1 else number(bound.at_most, 2)
                text = f"{most} B of {word}" if key.unit == "B" else counted(most, word)
                (told if bound.per_stream else hourly).append(text)
    likewise = f"Likewise at most {', '.join(told)} per connection" if told else ""
    over_time = f"Growth over time: at most {', '.join(hourly)} per hour" if hourly else ""
    return ". ".join(sentence for sentence in (likewise, over_time) if sentence)


def _seen(trial: Trial) -> str:
    """How much was seen of it: "Seen over 650 connections in 8 cycles, 9.6 s"."""
    opened = sum(one.ledger.opened for one in trial.observations)
    if not opened:
        return ""
    lasted = span(trial.observations[-1].ended - trial.observations[0].started)
    return f"Seen over {counted(number(opened), 'connection')} in {counted(len(trial.observations), 'cycle')}, {lasted}"


def _at(verdict: Verdict) -> str:
    """The place to begin at, where it is known to the line."""
    if verdict.outcome not in (Outcome.LEAKING, Outcome.CRASHED) or not verdict.findings:
        return ""
    places = [match[0] for place in verdict.findings[0].where[:1] if (match := LINE_OF_CODE.search(place))]
    return f"begin at {places[0]}: " if places else ""


def name(finding: Finding) -> str:
    """``+1 fds/eventfd per connection``, or what passed a ceiling."""
    what = f"{finding.metric}/{finding.kind}" if finding.kind else finding.metric
    if finding.rate is None:
        return f"{what} {finding.status}"
    amount, _, per = finding.rate.unit.partition("/")
    unit = f" {amount} of" if amount == "B" else ""
    return f"+{number(finding.rate.value)}{unit} {what} per {per}"


def notes(trial: Trial) -> list[str]:
    """Where the budgets came from, which exceptions were in them, and what ground the service left."""
    return [plain(note) for note in trial.notes if note.startswith(WORTH_SAYING)]


def _interval(finding: Finding) -> str:
    rate = finding.rate
    if rate is None or not rate.high > 0:
        return ""
    low, high = number(rate.low), number(rate.high)
    return f"95 % interval {low} to {high} {rate.unit}" if low != high else ""


def _where(finding: Finding) -> str:
    places = [place for place in finding.where if place][:PLACES]
    return f"Where: {'; '.join(places)}" if places else ""


def _ended(sentence: str) -> str:
    text = sentence.strip()
    return text if text.endswith((".", "!", "?", "…")) else text + "."
