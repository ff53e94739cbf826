"""The setup of a swarm process."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.swarm.load import LoadOptions

SECRET_VARIABLE = "HARNESS_SWARM_SECRET"  # noqa: S105 - the environment variable that holds it for workers
REMOTE_TIMEOUT = 180.0  # seconds until every worker of another machine must have joined
MIN_SECRET = 32  # characters: 128 bits even in hexadecimal


@dataclass(frozen=True, slots=True)
class SwarmSetup:
    """What a swarm process is started with.

    host: base URL of the service (http, https, http+unix). secret: what remote workers must know; "": the environment
    variable HARNESS_SWARM_SECRET. linger: seconds, at most, that ``half-close`` continues to read and ``stall`` stays
    connected. client_start, client_step: the numbers of this process's clients. web_port: Locust's web UI on loopback,
    0 for any port, None for none. target_pid: the process that its extra tab shows, 0 for none.
    """

    host: str
    load: LoadOptions = field(default_factory=LoadOptions)
    linger: float = 1.0
    client_start: int = 0
    client_step: int = 1
    secret: str = ""
    web_port: int | None = None
    target_pid: int = 0

    @property
    def distributed(self) -> bool:
        """Whether a master distributes the work."""
        return self.load.processes > 1 or self.load.remote_workers > 0
