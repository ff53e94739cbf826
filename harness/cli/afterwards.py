"""What follows every measuring command once its verdict is on disk: where the run is, and the history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli.streams import tell
from harness.experiment.history import keep, place_of
from harness.experiment.run import Run

HISTORY_OPTIONS = (
    click.option("--history", metavar="PLACE",
                 help="Record the run here: a file, a PostgreSQL URL or none [default: $HARNESS_HISTORY, else "
                 "reports/history.db]."),
    click.option("--target", metavar="NAME",
                 help="The service's name in the history [default: its program and path]."),
)  # fmt: skip


def afterwards(run: Run, options: Mapping[str, Any]) -> None:
    """Say where the run is if --out held another, and record it. Raises ConfigError, HistoryError."""
    out: Path | None = options["out"]
    folder = run.directory.path
    if out is not None and folder != out:
        tell(f"harness: {out} holds an earlier run; this run is in {folder}")
    keep(run.record, folder, place_of(options["history"]), target=options["target"])
