"""What a swarm is started with."""

from __future__ import annotations

from dataclasses import dataclass

from harness.swarm.approach import Approach

SECRET = "HARNESS_SWARM_SECRET"  # noqa: S105 - the environment variable that holds it for workers
LEAST_SECRET = 32  # characters: 128 bits even in hexadecimal


@dataclass(frozen=True, slots=True)
class SwarmSetup:
    """processes: generators on this machine, 0 for none. remote_workers: how many more will join from elsewhere
    (``python -m harness.swarm.worker HOST:PORT``) at ``bind`` ("HOST:PORT", "" for loopback and any port).

    web_port: Locust's web UI, 0 for any port, None for none. target_pid: shown there, 0 for none.
    locustfile: path of the user's own, whose users then make the load; "" for none.
    secret: the secret that workers must know, "" to generate one.
    """

    approach: Approach
    seed: int = 0
    processes: int = 1
    remote_workers: int = 0
    web_port: int | None = None
    bind: str = ""
    target_pid: int = 0
    locustfile: str = ""
    secret: str = ""

    @property
    def distributed(self) -> bool:
        """True when a master shares the work out."""
        return self.processes > 1 or self.remote_workers > 0
