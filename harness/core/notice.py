"""Which outcomes changed, and the JSON that a webhook gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.core.history import RunEntry, TrialEntry
from harness.core.quote import plain
from harness.core.verdict import Outcome

# An undecided run says nothing about the service, so it does not count as a change.
UNDECIDED = frozenset({Outcome.INCONCLUSIVE.value, Outcome.INFRASTRUCTURE.value})
MAX_LENGTH = 500  # characters of one text


@dataclass(frozen=True, slots=True)
class Notice:
    """One target whose outcome changed. previous: "" on its first run."""

    entry: RunEntry
    trial: TrialEntry
    previous: str

    @property
    def failed(self) -> bool:
        """True when the service got worse rather than better."""
        return self.trial.outcome != Outcome.BOUNDED.value


def notices(entry: RunEntry, earlier: Iterable[RunEntry]) -> list[Notice]:
    """The trials of a run whose outcome differs from that of the last decided run of the same target, profile, mode
    and branch. A first run is a change only when it fails."""
    last: dict[tuple[str, str, str], str] = {}
    for run in sorted(earlier, key=lambda run: run.started_at):
        if run.digest == entry.digest or run.branch != entry.branch or run.started_at > entry.started_at:
            continue
        for trial in run.trials:
            if trial.outcome not in UNDECIDED:
                last[trial.target, trial.profile, trial.mode] = trial.outcome
    found = []
    for trial in entry.trials:
        previous = last.get((trial.target, trial.profile, trial.mode), "")
        if trial.outcome in UNDECIDED or trial.outcome == (previous or Outcome.BOUNDED.value):
            continue
        found.append(Notice(entry, trial, previous))
    return found


def payload(notice: Notice) -> dict[str, Any]:
    """The webhook's JSON. ``text`` alone is what Slack, Mattermost and Rocket.Chat show."""
    entry, trial = notice.entry, notice.trial
    where = trial.target + (f" [{trial.profile}]" if trial.profile else "")
    commit = entry.commit[:10]
    parts = [
        f"{where}: {notice.previous or 'first run'} → {trial.outcome}",
        f"on {entry.branch}" if entry.branch else "",
        f"at commit {commit}" if commit else "",
    ]
    head = " ".join(part for part in parts if part)
    return {
        "text": "\n".join(_slack(one) for one in (head, trial.explanation, entry.ci_job) if one),
        "event": "outcome-changed",
        "target": plain(trial.target, MAX_LENGTH),
        "profile": plain(trial.profile, MAX_LENGTH),
        "mode": plain(trial.mode, MAX_LENGTH),
        "outcome": trial.outcome,
        "previous": notice.previous or None,
        "explanation": plain(trial.explanation, MAX_LENGTH),
        "run_id": plain(entry.run_id, MAX_LENGTH),
        "started_at": entry.started_at,
        "commit": plain(entry.commit, MAX_LENGTH),
        "branch": plain(entry.branch, MAX_LENGTH),
        "ci_job": plain(entry.ci_job, MAX_LENGTH),
    }


def _slack(text: str) -> str:
    """One line in which Slack sees no link, mention or channel: its reference asks to escape these three characters."""
    return plain(text, MAX_LENGTH).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
