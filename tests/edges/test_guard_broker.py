"""``--with-broker``: its dialect, services and faults, and the crash guarded in one command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq

from fake_broker import mdp
from harness.core.errors import ConfigError
from harness.experiment.broker import Broker
from harness.experiment.guard import broker_setup, goal_of
from harness.experiment.options import GuardRequest, request_of

HARNESS = (sys.executable, "-m", "harness.cli")


def request(**more: Any) -> GuardRequest:
    return request_of("http://127.0.0.1:{port}/", command=("true",), **{"with_broker": True, **more})


def test_a_broker_is_as_requested() -> None:
    plain = broker_setup(request().service)
    assert plain is not None
    assert (plain.dialect, plain.services, plain.faults, plain.proxied) == (
        "plantd",
        ("state", "identity", "app"),
        (),
        False,
    )
    faults = ("silence,after=5", "slices,size=3")
    asked = broker_setup(
        request(broker_dialect="0.2", broker_services=("echo",), broker_faults=faults).service
    )
    assert asked is not None
    assert (asked.dialect, asked.services, asked.faults, asked.proxied) == ("0.2", ("echo",), faults, True)
    assert broker_setup(request(with_broker=False).service) is None


def test_faults_that_were_requested_decide_alone_when_the_broker_is_silent() -> None:
    assert goal_of(request()).broker
    assert not goal_of(request(broker_faults=("latency",))).broker


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"with_broker": False, "broker_faults": ("silence",)},
            "broker_faults='silence': there is no broker",
        ),
        ({"with_broker": False, "broker_services": ("echo",)}, "broker_services='echo': there is no broker"),
        ({"with_broker": False, "broker_dialect": "0.1"}, "broker_dialect='0.1': there is no broker"),
        ({"broker_services": ("echo", "")}, "broker_services='': expected a name that is not empty"),
        ({"broker_services": ("mmi.mine",)}, "broker_services='mmi.mine': expected a name .* not mmi"),
        ({"broker_faults": ("silenc",)}, "broker_faults='silenc': .*did you mean 'silence'"),
        ({"broker_faults": ("latency,delay=-1",)}, "broker_faults='latency,delay=-1': 'delay' is -1"),
        ({"broker_faults": ("delimiter,change=missing",)}, "no effect in dialect plantd"),
        (
            {"broker_faults": ("partial-only",), "broker_dialect": "0.1"},
            r"needs PARTIAL, which dialect 0\.1 lacks",
        ),
    ],
)
def test_an_invalid_broker_option_is_refused_before_anything_starts(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        broker_setup(request(**more).service)


def test_a_service_of_another_dialect_is_noted_with_the_option_to_give(tmp_path: Path) -> None:
    setup = broker_setup(request(broker_dialect="0.2", broker_faults=("latency,delay=0",)).service)
    assert setup is not None
    with (
        Broker.start(setup, log=tmp_path / "broker.log", seed=0) as broker,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as peer,
    ):
        peer.linger = 0
        peer.connect(broker.endpoint)
        peer.send_multipart(mdp.encode_client_request("plantd", "state", [b"ping"]))
        peer.send_multipart(mdp.encode_client_request("0.2", "state", [b"ping"]))
        assert peer.poll(60_000), "the broker answers the second one, and has met the first one before"
        assert broker.notes_for_user(faults=True) == (
            "broker: rejected 1 message of dialect plantd, it uses 0.2; expected --broker-dialect plantd",
            "broker: fault latency,delay=0.0 saw 1 and acted on 1",
        )
        assert broker.notes_for_user(faults=False) == broker.notes_for_user(faults=True)[:1]


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
