"""The swarm of one trial, as its load asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.swarm.launch import Swarm
from harness.swarm.load import LoadOptions
from harness.swarm.setup import SwarmSetup


def open_swarm(load: LoadOptions, url: str, directory: Path, *, seed: int) -> Swarm:
    """Start the process of the swarm; ``wait_ready`` waits until it can load. directory: for its log and its files.
    seed: of this trial; every trial of a run has another one."""
    return Swarm(SwarmSetup(url, replace(load, seed=seed)), directory)
