"""The swarm of one trial, as its load asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.swarm.launch import Swarm
from harness.swarm.load import LoadOptions
from harness.swarm.setup import SwarmSetup


def open_swarm(load: LoadOptions, url: str, directory: Path, *, seed: int) -> Swarm:
    """Start its process; ``wait_ready`` tells when it can load. directory: for its log and what it leaves. seed: of
    this trial; every trial of a run has its own."""
    return Swarm(SwarmSetup(url, replace(load, seed=seed)), directory)
