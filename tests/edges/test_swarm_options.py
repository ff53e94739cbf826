"""What the swarm adds to Locust's command line: a value that cannot be is refused before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRONG = {
    "--stall-after": ("0", "-1", "soon", "nan", "inf"),
    "--source-addresses": ("localhost", "127.0.0.9-127.0.0.2", "203.0.113.9"),
    "--ca": ("/no/such/file.pem", __file__),
}


@pytest.mark.parametrize("option", list(WRONG))
def test_a_bad_value_is_named_with_what_was_expected(option: str) -> None:
    """All values of an option at once: Locust takes a second to start."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "churn.py"), "--headless"]
    running = [
        (
            value,
            subprocess.Popen(
                [*command, "--host", "http://127.0.0.1:9", "-t", "1s", f"{option}={value}"],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
            ),
        )
        for value in WRONG[option]
    ]
    for value, child in running:
        with child:
            _, said = child.communicate(timeout=30.0)
        assert child.returncode == 2, said
        assert f"argument {option}" in said
        assert value in said
        assert "expected" in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments", [(), ("localhost",), ("localhost:port",), ("localhost:70000",), ("a:1", "b:2")]
)
def test_a_worker_that_is_not_told_its_master_says_what_it_expected(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.swarm.worker", *arguments],
        capture_output=True,
        text=True,
        timeout=30.0,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "MASTER:PORT" in done.stderr
    assert not arguments or arguments[-1] in done.stderr
    assert "Traceback" not in done.stderr
