"""The swarm of one trial, as its setup asks for it."""

from __future__ import annotations

from pathlib import Path

from harness.experiment.setup import LoadSetup
from harness.swarm.launch import Swarm


def open_swarm(load: LoadSetup, url: str, directory: Path, *, seed: int) -> Swarm:
    """Start its process; ``wait_ready`` tells when it can load. directory: for its log and what it leaves."""
    return Swarm(
        url,
        directory,
        seed=seed,
        stall_after=load.stall_after,
        max_event=load.max_event,
        method=load.method,
        headers=load.headers,
        body=load.body,
        insecure=load.insecure,
        ca=load.ca,
        source_addresses=load.source_addresses,
        processes=load.processes,
        keep_alive=load.keep_alive,
        expect=load.expect,
        clients=load.clients,
        locustfile=load.locustfile,
    )
