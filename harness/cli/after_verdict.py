"""The steps of every measuring command after its verdict is saved: the folder of the run, history, notifications."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli import secret
from harness.cli.streams import print_error
from harness.core.errors import ConfigError
from harness.core.secret_values import secrets_in_url
from harness.experiment.history import (
    INSTALL,
    VARIABLE,
    check_history_place,
    history_place,
    installed,
    record_run,
)
from harness.export.webhook import Webhook
from harness.process.environment import forget

if TYPE_CHECKING:
    from harness.core.notice import Notice
    from harness.experiment.run import Run

NOTIFY = "HARNESS_NOTIFY"
HISTORY_OPTIONS = (
    click.option("--history", metavar="PLACE",
                 help="Record the run here: a file, a PostgreSQL URL or none [default: $HARNESS_HISTORY, else "
                 "reports/history.db]."),
    click.option("--notify", metavar="URL",
                 help="POST to this webhook when the outcome changed since the last run [default: $HARNESS_NOTIFY]."),
    click.option("--target", metavar="NAME",
                 help="The service's name in the history [default: its program and path]."),
)  # fmt: skip


class AfterVerdict:
    """The steps after a verdict. It is made before the run, so that invalid options are refused early, and it removes
    secrets from the environment, so that the service does not inherit them."""

    def __init__(
        self, *, out: Path | None, history: str | None, notify: str | None, target: str | None
    ) -> None:
        """Raises ConfigError."""
        self._out, self._target = out, target
        self._place = history_place(history)
        url = notify or os.environ.get(NOTIFY, "")
        known = [url, *secrets_in_url(url)] if url else []
        if "://" in self._place.name:
            known += secrets_in_url(self._place.name)
        secret.remember([value for value in known if value])
        check_history_place(self._place)
        self._webhook = Webhook(url) if url else None
        if self._webhook and self._place.off:
            raise ConfigError(
                "--notify reports what changed since the last run: expected a history, not none"
            )
        if self._webhook and not installed():
            raise ConfigError(INSTALL)
        for name in (NOTIFY, VARIABLE):
            if "://" in os.environ.get(name, ""):
                forget(name)
        self._notices: list[Notice] = []

    @classmethod
    def of(cls, options: dict[str, Any]) -> AfterVerdict:
        """From the options of a command."""
        return cls(**{name: options.get(name) for name in ("out", "history", "notify", "target")})

    def record(self, run: Run) -> None:
        """Record the run; report its folder if --out contained another run. Raises ConfigError, HistoryError."""
        folder = run.directory.path
        if self._out is not None and folder != self._out:
            print_error(f"harness: {self._out} holds an earlier run; this run is in {folder}")
        self._notices = record_run(run.record, folder, self._place, target=self._target)

    def notify(self) -> None:
        """Send what changed to the webhook. Raises NotificationError."""
        if self._webhook:
            from harness.core.notice import payload  # imports the judge, which the options do not need

            for notice in self._notices:
                self._webhook.send(payload(notice))
