"""The notes of a trial that the verdict's reader needs: budgets, their exceptions, and what the service left behind."""

from __future__ import annotations

from harness.core.quote import plain
from harness.core.record import Trial

WORTH_SAYING = ("budgets: ", "exception until ", "it did not exit within ", "its log exceeded ")


def notes(trial: Trial) -> list[str]:
    """Where the budgets came from, which exceptions they have, and what the service or its log made the harness do."""
    return [plain(note) for note in trial.notes if note.startswith(WORTH_SAYING)]
