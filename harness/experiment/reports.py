"""The reports of a judged record, and its exit code. They need no measuring code, so saved runs use them too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from harness.core.budget import not_covered
from harness.core.metric import Key
from harness.core.note import Note
from harness.core.record import RunRecord, Trial
from harness.report.html import render as render_html
from harness.report.junit import render as render_junit
from harness.report.markdown import render as render_markdown
from harness.store.run_dir import RunDirectory, safe_name


def uncovered(trial: Trial) -> tuple[Note, ...]:
    """Which leaking kinds a budget of their metric does not cover, for the notes of a judged trial."""
    found = trial.verdict.findings if trial.verdict else ()
    return not_covered(trial.budget, (Key(one.metric, one.kind) for one in found if one.status == "leaking"))


def write_reports(record: RunRecord, directory: RunDirectory) -> Path:
    """Write all readable forms of a record beside its run.json, and return the path of report.html. Raises
    StoreError."""
    written = {name: write(record, directory) for name, write in REPORTS.items()}
    return written[HTML]


def _write_markdown(record: RunRecord, directory: RunDirectory) -> Path:
    return directory.write_text("summary.md", render_markdown(record))


def _write_junit(record: RunRecord, directory: RunDirectory) -> Path:
    return directory.write_text("junit.xml", render_junit(record))


def _write_html(record: RunRecord, directory: RunDirectory) -> Path:
    samples = {trial.name: list(directory.read_samples(trial.name)) for trial in record.trials}
    links = {trial.name: _links(directory.path, trial.name) for trial in record.trials}
    return directory.write_text(HTML, render_html(record, samples, links, root=str(Path.cwd())))


def _links(folder: Path, trial: str) -> list[tuple[str, str]]:
    """Files beside the report that it links to: label and relative path of those that exist."""
    name = safe_name(trial)
    known = (
        ("log", f"{name}/target.log"), ("flame graph", f"{name}/memory.html"), ("swarm log", f"{name}/swarm/swarm.log"),
        ("broker log", f"{name}/broker.log"), ("run.json", "run.json"), ("verdict.json", "verdict.json"),
    )  # fmt: skip
    return [(label, quote(path)) for label, path in known if (folder / path).exists()]


HTML = "report.html"
REPORTS = {"summary.md": _write_markdown, "junit.xml": _write_junit, HTML: _write_html}


def worst_exit_code(trials: Iterable[Trial]) -> int:
    """The exit code of several verdicts: the service's fault (1), then the harness's (4), then inconclusive (3)."""
    codes = {trial.verdict.exit_code for trial in trials if trial.verdict}
    return next((code for code in (1, 4, 3, 2) if code in codes), 0)
