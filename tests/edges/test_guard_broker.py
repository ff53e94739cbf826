"""``--with-broker``: its dialect, services and faults, and the crash guarded in one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import ConfigError
from harness.experiment.guard import Request, broker_setup, goal_of

HARNESS = (sys.executable, "-m", "harness.cli")


def request(**more: Any) -> Request:
    return Request("http://127.0.0.1:{port}/", command=("true",), **{"with_broker": True, **more})


def test_a_broker_is_as_asked() -> None:
    plain = broker_setup(request())
    assert plain is not None
    assert (plain.dialect, plain.services, plain.faults, plain.proxied) == (
        "plantd",
        ("state", "identity", "app"),
        (),
        False,
    )
    faults = ("silence,after=5", "slices,size=3")
    asked = broker_setup(request(broker_dialect="0.2", broker_services=("echo",), broker_faults=faults))
    assert asked is not None
    assert (asked.dialect, asked.services, asked.faults, asked.proxied) == ("0.2", ("echo",), faults, True)
    assert broker_setup(request(with_broker=False)) is None


def test_faults_that_were_asked_for_decide_alone_when_the_broker_is_silent() -> None:
    assert goal_of(request()).broker
    assert not goal_of(request(broker_faults=("latency",))).broker


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"with_broker": False, "broker_faults": ("silence",)}, "--broker-fault silence: there is no broker"),
        ({"with_broker": False, "broker_services": ("echo",)}, "--broker-service echo: there is no broker"),
        ({"with_broker": False, "broker_dialect": "0.1"}, "--broker-dialect 0.1: there is no broker"),
        ({"broker_faults": ("silenc",)}, "--broker-fault silenc: .*did you mean 'silence'"),
        ({"broker_faults": ("latency,delay=-1",)}, "--broker-fault latency,delay=-1: 'delay' is -1"),
        ({"broker_faults": ("delimiter,change=missing",)}, "no effect in dialect plantd"),
        (
            {"broker_faults": ("partial-only",), "broker_dialect": "0.1"},
            r"needs PARTIAL, which dialect 0\.1 lacks",
        ),
    ],
)
def test_a_broker_that_cannot_be_is_refused_before_anything_starts(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        broker_setup(request(**more))


def test_the_crash_is_guarded_in_one_command(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run(
        [
            *HARNESS,
            *(
                "guard",
                "--with-broker",
                "--broker-fault",
                "silence",
                "--history",
                "none",
                "--runtime",
                "none",
            ),
            *(
                "--url",
                "http://127.0.0.1:{port}/dashboard/sse",
                "--retention",
                "0",
                "--dwell",
                "4s",
                "--events",
                "0",
            ),
            *(
                "--connections",
                "16",
                "--concurrency",
                "16",
                "--out",
                str(tmp_path / "run"),
                "--json",
                str(result),
            ),
            *("--", sys.executable, "-m", "harness.reference", "--profile", "upstream"),
            *("--port", "{port}", "--broker", "{broker}"),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads(result.read_text())["outcome"] == "crashed"
    assert "broker: fault silence saw" in done.stderr
