"""The live figures of a run, if its request asks for them."""

from __future__ import annotations

from collections.abc import Callable

from harness.core.redact import Redactor
from harness.experiment.context import Progress
from harness.experiment.options import GuardRequest
from harness.export.exports import Exports


class RunExports(Exports):
    """The exports of one run, fed by its progress."""

    def beside(self, show: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """A function for the progress of the run that feeds the figures as well as ``show``."""

        def both(progress: Progress) -> None:
            self.progress(progress.phase, progress.sample, progress.ledger, progress.cycle)
            show(progress)

        return both


def open_exports(request: GuardRequest, redact: Redactor) -> RunExports:
    """Open what the request asks for. Raises ConfigError when a port is taken or an address is invalid."""
    service, output = request.service, request.output
    target = " ".join(service.command) if service.command else service.url
    return RunExports(target, prometheus=output.prometheus, otlp=output.otlp, redact=redact.text)
