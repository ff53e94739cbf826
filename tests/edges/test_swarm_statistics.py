"""Streams in Locust's statistics; in a process of its own, because importing Locust patches the sockets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKS = Path(__file__).parent / "servers" / "swarm_statistics.py"


def test_statistics_make_sense_to_a_locust_user() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--no-cov", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(CHECKS)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
