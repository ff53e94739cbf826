"""The context of a trial: the service as a process, the clock and the folder of the run, and the live view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.core.cycle import Ledger
from harness.core.record import Trial
from harness.core.sample import Sample
from harness.experiment.stop_signal import StopSignal
from harness.store.folder_limit import FolderLimit
from harness.store.run_dir import RunDirectory


class Target(Protocol):
    """A spawned or an attached service. logs: the harness started it and has its log. lost: why its exit cannot be
    observed, such as a supervisor that was killed; "" while it can. supervisor_pid: the process that adopts the orphans
    of a service that the harness started, else 0."""

    pid: int
    supervisor_pid: int
    logs: bool
    lost: str

    @property
    def alive(self) -> bool:
        """False once it has exited."""

    def poll(self) -> int | None:
        """Its return code, if known."""

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for its exit; True when it has exited."""

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of its log."""

    def stop(self, grace: float = 3.0) -> None:
        """Stop it, if the harness started it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state that a live view shows. trial: its name. at: seconds since the trial's start. cycle: its index.
    connections: streams opened so far. sample: the latest, None before the probe runs. note: why the run takes longer.
    ledger: of the cycle in progress."""

    trial: str
    at: float
    phase: str
    cycle: int
    connections: int
    sample: Sample | None
    note: str = ""
    ledger: Ledger | None = None


@dataclass(slots=True)
class TrialContext:
    """The run's clock and directory, the interrupt that ends the trial early, and the live view.

    seed: of the random choices of swarm and broker. show: updates the live view. keep: saves the trial as it is now.
    folder_limit: limits the size of the directory.
    """

    clock: Callable[[], float]
    directory: RunDirectory
    interrupt: StopSignal
    seed: int
    show: Callable[[Progress], None] = lambda _: None
    keep: Callable[[Trial], None] = lambda _: None
    folder_limit: FolderLimit | None = None
