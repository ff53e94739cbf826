"""What a swarm is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.swarm.load import LoadOptions

SECRET = "HARNESS_SWARM_SECRET"  # noqa: S105 - the environment variable that holds it for workers
LEAST_SECRET = 32  # characters: 128 bits even in hexadecimal


@dataclass(frozen=True, slots=True)
class SwarmSetup:
    """host: base URL of the service (http, https, http+unix).

    remote_workers: number of workers that will join from other machines (``python -m harness.swarm.worker HOST:PORT``)
    at ``bind`` ("HOST:PORT", "" for loopback and any port). They must know ``secret`` ("": the environment variable
    HARNESS_SWARM_SECRET). With remote workers, ``load.processes`` may be 0.
    linger: seconds, at most, that ``half-close`` goes on reading and ``stall`` stays silent.
    client_start, client_step: which numbers of clients are this process's.
    web_port: Locust's web UI on loopback, 0 for any port, None for none. target_pid: the process that its extra tab
    shows, 0 for none.
    """

    host: str
    load: LoadOptions = field(default_factory=LoadOptions)
    linger: float = 1.0
    client_start: int = 0
    client_step: int = 1
    remote_workers: int = 0
    bind: str = ""
    secret: str = ""
    web_port: int | None = None
    target_pid: int = 0

    @property
    def distributed(self) -> bool:
        """True when a master shares the work out."""
        return self.load.processes > 1 or self.remote_workers > 0
