"""A load in which everything fails is stopped, and the first cause is reported in full."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.core.cycle import CycleSpec, Ledger
from harness.core.note import NoteKind
from harness.experiment import stream_failures
from harness.experiment.guard import guard_once
from harness.experiment.options import request_of
from harness.experiment.stream_failures import StreamFailures

SERVICE = Path(__file__).parents[1] / "services" / "asyncio_service.py"


def test_users_of_a_locustfile_that_succeed_are_answers_though_no_head_was_counted() -> None:
    watched = StreamFailures()
    spec = CycleSpec(0, 10, 10, 1.0)
    for at in range(30):
        watched.update(100.0 + at, spec, Ledger(opened=20 * at, completed=10 * at, failed=10 * at))
    assert not watched.reason


def test_the_first_cause_is_named_in_full() -> None:
    watched = StreamFailures()
    spec = CycleSpec(0, 10, 10, 1.0)
    first = "HTTPError: 500 for /events/events"
    for at in (0.0, 10.1):
        watched.update(
            100.0 + at, spec, Ledger(opened=9, failed=9, causes={"status-404": 9}, first_failure=first)
        )
    assert watched.reason.endswith(f"; the first: {first}")


LOCUSTFILE = """
from locust import HttpUser, constant, task

class User(HttpUser):
    wait_time = constant(0.05)

    @task
    def get(self):
        self.client.get({path!r}, stream=True).close()
"""


def guard(tmp_path: Path, path: str, **more: object) -> tuple[object, ...]:
    own = tmp_path / "locustfile.py"
    own.write_text(LOCUSTFILE.format(path=path))
    request = request_of(
        url="http://127.0.0.1:{port}/events",
        command=(sys.executable, str(SERVICE), "{port}", "healthy"),
        locustfile=own,
        connections=10,
        concurrency=10,
        dwell=1.0,
        settle=0.3,
        cycles=3,
        hold=0.0,
        runtime="none",
        out=tmp_path / "run",
        **more,  # type: ignore[arg-type]
    )
    done = guard_once(request, command="test")
    return done.trial.observations, done.trial.notes


@pytest.mark.timeout(120)
def test_the_path_of_the_url_is_not_doubled(tmp_path: Path) -> None:
    observations, notes = guard(tmp_path, "/events", max_time=60.0)
    ledgers = [one.ledger for one in observations if one.ledger.opened]  # type: ignore[attr-defined]
    assert ledgers, notes
    assert not any(ledger.failed for ledger in ledgers), ledgers
    assert set(ledgers[0].by_path) == {"/events"}


@pytest.mark.timeout(120)
def test_a_load_that_never_reaches_the_service_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_failures, "MAX_FAILING", 3.0)
    observations, notes = guard(tmp_path, "http://127.0.0.1:1/x")
    (note,) = [note.text for note in notes if note.kind is NoteKind.LOAD_STOPPED]
    assert "[Errno 111] Connection refused" in note
    assert len(observations) <= 6
