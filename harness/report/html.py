"""report.html: one file that opens from the disk, with no network, in light and dark, and prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from harness.core.judge.signature import excerpt
from harness.core.note import NoteKind, of_kind, without
from harness.core.record import RunRecord, Trial
from harness.core.sample import Sample
from harness.core.units import bytes_text, counted
from harness.core.verdict import Bound
from harness.report import over_time
from harness.report.evidence import charts, legend
from harness.report.facts import facts_of
from harness.report.nouns import decimal, driver, in_bytes
from harness.report.page import asset, environment, policy
from harness.report.place_facts import relative
from harness.report.row import build_row, table
from harness.report.svg import draw

LOG_LINES = 14  # lines of the log before an exit
Links = Sequence[tuple[str, str]]  # label, path relative to the report


def _section(
    trial: Trial, samples: Sequence[Sample], links: Links, identifier: str, root: str
) -> dict[str, Any]:
    assert trial.verdict
    tail = excerpt(trial.exit.log_tail, LOG_LINES) if trial.exit else ()
    evidence = list(charts(trial, f"{identifier}-evidence"))
    known = trial.places.places if trial.places else ()
    places = [place.text for place in known]
    if trial.places is None:  # records of earlier versions have them in their findings alone
        places = [place for finding in trial.verdict.findings for place in finding.where]
    return {
        "name": trial.name,
        "summary": trial.about.summary,
        "outcome": trial.verdict.outcome.value,
        "verdict": trial.verdict,
        "facts": facts_of(trial, root=root, rest="below"),
        "evidence": evidence,
        "legend": legend(evidence[0]) if evidence else [],
        "resources": list(over_time.resources(trial, samples, identifier)),
        "load": list(over_time.load(trial, identifier)),
        "cycles": over_time.cycles(trial),
        "classes": over_time.classes(trial),
        "places": list(dict.fromkeys(relative(place, root) for place in places)),
        "search": _search_limits(trial) if known else [],
        "command": " ".join(trial.target.command or (trial.target.url,)),
        "notes": [note.text for note in trial.notes],
        "log": tail,
        "links": links,
    }


def _search_limits(trial: Trial) -> list[str]:
    """The omissions of the list of places, with their reasons."""
    found = trial.places
    if found is None:
        return []
    more = [f"{counted(found.more, 'more place')} left out"] if found.more else []
    cut = [str(note.data.get("reason", note.text)) for note in of_kind(found.notes, NoteKind.PARTIAL)]
    others = [note.text for note in without(found.notes, NoteKind.PARTIAL)]
    return [*more, *([f"the search was cut short: {'; '.join(cut)}"] if cut else []), *others]


def _machine(record: RunRecord) -> list[str]:
    """The properties of the machine in words. Its class has the number of cores as well."""
    known = {
        name: value
        for name, value in record.machine.items()
        if name != "cores" or "machine_class" not in record.machine
    }
    words = {"machine_class": "machine", "ci_job": "CI job"}
    return [f"{words.get(name, name)} {value}" for name, value in known.items()]


def at_most(bound: Bound) -> str:
    """``0.00061 per answered stream``, ``2.39 GB per hour``: the row names the metric."""
    if in_bytes(bound.metric, bound.kind):
        amount = bytes_text(bound.at_most)
    else:
        amount = decimal(bound.at_most) + (" cores" if bound.metric == "idle-cpu" else "")
    return f"{amount} per {driver(bound.unit)}"


def render(
    record: RunRecord,
    samples: Mapping[str, Sequence[Sample]],
    links: Mapping[str, Links] | None = None,
    *,
    root: str = "",
) -> str:
    """The whole report. samples: by trial name; a trial without samples has no charts over time. links: files beside
    the report, by trial name. root: the working directory; paths below it are shown relative to it."""
    judged = [trial for trial in record.trials if trial.verdict]
    own = asset("report.js")
    beside = links or {}
    sections = [
        _section(trial, samples.get(trial.name, ()), beside.get(trial.name, ()), f"t{index}", root)
        for index, trial in enumerate(judged)
    ]
    rows = [build_row(trial) for trial in judged]
    headings, texts = table(rows)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            headings=headings,
            rows=list(zip([row.outcome.value for row in rows], texts, strict=True)),
            sections=sections,
            draw=draw,
            machine=_machine(record),
            at_most=at_most,
            own=Markup(own),  # noqa: S704 - ours
            css=Markup(asset("report.css")),  # noqa: S704 - ours
            policy=policy(own),
        )
    )
