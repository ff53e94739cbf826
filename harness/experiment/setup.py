"""The setup of a trial: the request, and what is derived from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.core.plan import Step
from harness.core.record import About, Trial
from harness.experiment.broker import BrokerSetup
from harness.experiment.options import GuardRequest, JudgementOptions, ServiceOptions
from harness.experiment.remote_target import probe_argv
from harness.experiment.target_runtime import RuntimeSetup
from harness.swarm.load import LoadOptions

Steps = Callable[[Trial], Step]
"""From the trial so far: the next cycle, or why to stop. Pure."""


@dataclass(frozen=True, slots=True)
class TrialSetup:
    """One trial.

    limit: seconds from the trial's start after which whatever is in progress is cancelled; None: no limit, and
    ``max_time`` counts from the first cycle. probe_interval: seconds between two samples. resumed: what was
    measured before an interruption.
    """

    name: str
    request: GuardRequest
    steps: Steps
    broker: BrokerSetup | None = None
    runtime: RuntimeSetup = field(default_factory=RuntimeSetup)
    limit: float | None = None
    probe_interval: float = 0.1
    about: About = field(default_factory=About)
    resumed: Trial | None = None

    @property
    def service(self) -> ServiceOptions:
        """The service under test."""
        return self.request.service

    @property
    def load(self) -> LoadOptions:
        """The load."""
        return self.request.load

    @property
    def judgement(self) -> JudgementOptions:
        """The measurement and its limits."""
        return self.request.judgement

    @property
    def probe_command(self) -> tuple[str, ...]:
        """The arguments of the command that samples a remote service; empty without one. Raises ConfigError."""
        command = self.service.probe_command
        return probe_argv(command) if command is not None else ()
