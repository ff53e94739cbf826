"""Other ends than a leak: each turns red for its own reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.core.judge import unserved
from harness.core.judge.unserved import was_given_up, withstood
from harness.core.verdict import Outcome
from harness.experiment import trial_cycle
from harness.experiment.guard import Guarded, guard_once
from harness.experiment.options import request_of

SERVICE = Path(__file__).parents[1] / "services" / "plain_sse.py"


def run(kind: str, tmp_path: Path, **more: object) -> Guarded:
    arguments = {
        "command": (sys.executable, str(SERVICE), "{port}", kind),
        "url": "http://127.0.0.1:{port}/events",
        "connections": 120,
        "concurrency": 20,
        "dwell": 0.5,
        "settle": 0.3,
        "sensitivity": 1 / 200,
        "max_time": 40.0,
        "hold": 0.0,  # none of them is about clients that stay
        "out": tmp_path / "run",
        **more,
    }
    return guard_once(request_of(**{"retention": 0.0, **arguments}), command="test")  # type: ignore[arg-type]


def test_an_exit_with_code_0_in_mid_load_is_a_crash(tmp_path: Path) -> None:
    verdict = run("exit-0", tmp_path).verdict
    assert verdict.outcome is Outcome.CRASHED, verdict.explain()
    assert verdict.crash is not None
    assert verdict.crash.returncode == 0


def test_a_service_that_never_sends_a_byte_is_stalled(tmp_path: Path) -> None:
    verdict = run("mute", tmp_path, connections=20, max_time=10.0).verdict
    assert verdict.outcome is Outcome.STALLED, verdict.explain()


def test_a_service_whose_events_are_rare_is_not_stalled(tmp_path: Path) -> None:
    """A Ruby service of notifications, one every 12 to 30 s, was called stalled."""
    first = run("rare", tmp_path, connections=20, max_time=6.0).verdict
    assert first.outcome is Outcome.INCONCLUSIVE, first.explain()
    assert "answered streams got an event within 0.5 s (--dwell)" in first.explanation
    assert "--events 0 --max-time " in first.advice


@pytest.mark.soak(reason="each stream lasts for the whole dwell: twenty seconds")
def test_a_service_whose_events_are_rare_is_bounded_with_the_option_that_is_advised(tmp_path: Path) -> None:
    done = run("rare", tmp_path, connections=20, events=0, sensitivity=1 / 30, max_time=30.0)
    assert done.verdict.outcome is Outcome.BOUNDED, done.verdict.explain()


@pytest.mark.parametrize(
    ("kind", "words"), [("deaf", "connections were refused"), ("failing", "only status 500")]
)
def test_a_service_that_stops_serving_under_load_is_stalled(
    kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Java service whose accept loop had ended with an exception was inconclusive because of its threads."""
    monkeypatch.setattr(unserved, "RECOVERY", 2.0)
    monkeypatch.setattr(unserved, "RECOVERY_OF_LISTENER", 2.0)
    # The service does not exit: no failed cycle needs to wait for that.
    monkeypatch.setattr(trial_cycle, "EXIT_TIMEOUT", 0.2)
    verdict = run(kind, tmp_path, max_time=60.0).verdict
    assert verdict.outcome is Outcome.STALLED, verdict.explain()
    assert f"{words} after " in verdict.explanation
    assert "later, while the process was running" in verdict.explanation


def test_a_service_that_recovers_from_a_load_is_judged_with_smaller_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unserved, "RECOVERY", 6.0)  # the service needs 4 s
    done = run("overwhelmed", tmp_path, max_time=80.0, sensitivity=1 / 100)
    assert done.verdict.outcome is Outcome.BOUNDED, done.verdict.explain()
    trial = done.trial
    stuck = [index for index, o in enumerate(trial.observations) if was_given_up(o)]
    assert stuck, "the load has met the service when it was busy"
    most = max(120.0, withstood(trial))
    assert all(o.spec.connections <= most for o in trial.observations[stuck[-1] + 1 :])


@pytest.mark.parametrize(("kind", "words"), [("page", "text/html"), ("not-found", "404")])
def test_a_url_without_a_stream_is_reported_before_any_load(kind: str, words: str, tmp_path: Path) -> None:
    done = run(kind, tmp_path)
    assert done.verdict.outcome is Outcome.UNREADY
    assert words in done.verdict.explanation
    assert done.verdict.exit_code == 1
