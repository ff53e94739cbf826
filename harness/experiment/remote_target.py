"""A service on another machine, known only by the lines that a probe command prints."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from harness.core.errors import OptionError, ProbeError
from harness.core.sample import Sample
from harness.probe.remote import RemoteSampler
from harness.probe.sampler import Sampler
from harness.target.attach import ObservedTarget

ProbeSampler = Sampler | RemoteSampler
"""Reads the service: on this machine, or through a probe command."""


def probe_argv(command: str) -> tuple[str, ...]:
    """The arguments of ``probe_command``, which is run without a shell. Raises ConfigError."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise OptionError(
            "probe_command", command, f"{error}; expected a command with its quotes closed"
        ) from None
    if not words:
        raise OptionError("probe_command", command, "expected a command such as 'ssh host harness probe'")
    return words


def open_remote_probe(
    argv: tuple[str, ...],
    *,
    clock: Callable[[], float],
    on_sample: Callable[[Sample], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> RemoteSampler:
    """Run the command. Raises ProbeError when it sends no samples, or does not read requests: the harness must request
    the number of connected clients and the census. Raises Interrupted when it is cancelled before."""
    sampler = RemoteSampler(argv, clock=clock, on_sample=on_sample, cancelled=cancelled)
    try:
        # Any answer shows that the probe reads requests; the limits are needed anyway.
        sampler.limits()
    except ProbeError as error:
        sampler.close()
        raise ProbeError(f"the probe command {argv[0]!r}: {error}") from None
    return sampler


class RemoteTarget(ObservedTarget):
    """A remote service that is observed and never stopped, like a service attached by pid."""

    def __init__(self, sampler: RemoteSampler) -> None:
        self._sampler = sampler
        self.pid = sampler.pid

    @property
    def alive(self) -> bool:
        """False once the probe has reported that it exited, or that another process has its pid."""
        return not self._sampler.ended

    def stop(self, grace: float = 0.0) -> None:
        """Nothing: the service keeps running, and the trial stops the probe."""
