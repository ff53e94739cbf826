"""Nothing that follows a certain verdict can lose it: an exception is planted in each step."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import click
import pytest

from harness.cli.after_verdict import AfterVerdict
from harness.cli.result import finish
from harness.core.cycle import CycleSpec, Phase
from harness.core.errors import StoreError
from harness.core.plan import Stop
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.experiment.guard import Guarded, guard_once
from harness.experiment.options import request_of
from harness.experiment.run import Run
from harness.experiment.setup import TrialSetup
from harness.experiment.trial import RunningTrial
from harness.runtime.python import PythonCounters
from harness.store.run_dir import RunDirectory
from tests.core.series import trial as scripted

SERVICE = Path(__file__).parents[1] / "services" / "asyncio_service.py"
LEAK = scripted([310 + 300 * n for n in range(8)], warmup=(10, 10, 10))
CLEAN = scripted([10] * 8, warmup=(10, 10, 10))


class Planted(Exception):
    """The exception that is planted."""


def fail(*_: Any, **__: Any) -> Any:
    raise Planted("planted")


def full(*_: Any, **__: Any) -> Any:
    raise StoreError("no space left on device")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("harness.experiment.run.run_trial", lambda *_: LEAK)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Run(command="test", seed=0, out=tmp_path / "run", interrupt=Event())


SETUP = TrialSetup(
    name="scripted", request=request_of(url="http://127.0.0.1:1/"), steps=lambda _: Stop("done")
)
STEPS = [
    ("harness.experiment.reports.render_markdown", "summary.md"),
    ("harness.experiment.reports.render_junit", "junit.xml"),
    ("harness.experiment.reports.render_html", "report.html"),
    ("harness.cli.result.run_dict", "verdict.json"),
    ("harness.cli.result.run_dict", "--json"),
    ("harness.cli.result.junit.render", "--junit"),
    ("harness.cli.result.github.summary", "the step summary"),
    ("harness.cli.result.show_verdict", "showing the verdict"),
    ("harness.experiment.run.uncovered", "the check of the budget"),
    ("harness.store.run_dir.RunDirectory.close", "closing the run's files"),
    ("harness.cli.after_verdict.AfterVerdict.record", "the history"),
    ("harness.cli.after_verdict.AfterVerdict.notify", "the notification"),
]


@pytest.mark.parametrize("plant", [fail, full])
@pytest.mark.parametrize(("place", "step"), STEPS)
def test_a_step_after_the_verdict_that_fails_is_a_note(
    place: str,
    step: str,
    plant: Any,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setattr(place, plant)
    options = {
        "afterwards": AfterVerdict.of({}),
        "json_file": tmp_path / "a.json",
        "junit_file": tmp_path / "a.xml",
        "form": "terminal",
    }
    judged = run.trial(SETUP)
    with pytest.raises(click.exceptions.Exit) as ended:
        finish(run, run.report(), options)
    assert ended.value.exit_code == 1
    notes = [line for line in capsys.readouterr().err.splitlines() if line]
    assert any(line.startswith(f"harness: {step}") and line.endswith("the verdict stands") for line in notes)
    saved, _ = RunDirectory.load(run.directory.path)
    assert saved.trials[0].verdict == judged.verdict
    assert judged.verdict
    assert judged.verdict.outcome is Outcome.LEAKING


def test_a_self_test_that_fails_is_a_note(run: Run) -> None:
    judged = run.trial(SETUP, fail)
    assert judged.verdict
    assert judged.verdict.outcome is Outcome.LEAKING
    assert run.failures == ["the self-test failed: Planted: planted; the verdict stands"]
    assert run.failures[0] in [note.text for note in judged.notes]
    assert run.record.trials[0].verdict == judged.verdict


def test_a_verdict_that_cannot_be_saved_is_still_the_verdict(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunDirectory, "checkpoint", full)
    judged = run.trial(SETUP)
    assert judged.verdict
    assert judged.verdict.exit_code == 1
    assert run.failures == ["saving the verdict failed: no space left on device; the verdict stands"]
    assert run.record.trials == (judged,)


def test_what_passed_still_passes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.experiment.run.run_trial", lambda *_: replace(CLEAN, sensitivity=0.1))
    monkeypatch.setattr("harness.experiment.reports.render_html", fail)
    run.trial(SETUP)
    options = {"json_file": None, "junit_file": None, "form": "terminal", "afterwards": AfterVerdict.of({})}
    with pytest.raises(click.exceptions.Exit) as ended:
        finish(run, run.report(), options)
    assert ended.value.exit_code == 0


def leaky(tmp_path: Path) -> Guarded:
    """A guard whose leak is certain after a few cycles."""
    request = request_of(
        url="http://127.0.0.1:{port}/events",
        command=(sys.executable, str(SERVICE), "{port}", "eventfd@connection"),
        connections=60,
        concurrency=30,
        dwell=0.3,
        settle=0.3,
        sensitivity=0.1,
        retention=0.0,
        out=tmp_path / "run",
    )
    return guard_once(request, command="test")


@pytest.mark.timeout(120)
def test_a_search_for_the_place_that_fails_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.runtime.python_sites.attribution", fail)
    done = leaky(tmp_path)
    assert done.verdict.outcome is Outcome.LEAKING, done.verdict.explain()
    assert any("Planted: planted; the verdict stands" in note.text for note in done.trial.notes)
    assert done.report.is_file()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("cycles", [0, 2], ids=["before its first cycle", "after its last one"])
def test_a_service_that_exits_during_the_search_has_crashed_and_the_leak_stays_certain(
    cycles: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent's own call kills the service after a number of cycles of the search: either the next cycle finds that
    it has exited, or no cycle sees it."""

    snapshot = PythonCounters.snapshot
    calls = count()

    def deadly(self: PythonCounters) -> Any:
        found = snapshot(self)
        if next(calls) < cycles:
            return found
        os.kill(self.pid, signal.SIGSEGV)
        # The process may be reaped meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while Path(f"/proc/{self.pid}/cmdline").read_bytes():
                pass
        return found

    monkeypatch.setattr(PythonCounters, "snapshot", deadly)
    done = leaky(tmp_path)
    verdict = done.verdict
    assert verdict.outcome is Outcome.CRASHED, verdict.explain()
    assert Outcome.LEAKING in verdict.also, (verdict.explain(), done.trial.notes)
    assert any(finding.kind == "eventfd" for finding in verdict.findings)
    assert verdict.crash
    assert verdict.crash.signal == "SIGSEGV"
    first = next(one.spec.index for one in done.trial.observations if one.spec.phase is Phase.SEARCH)
    assert verdict.crash.during == f"cycle {first + cycles} (the search for its place in the source)"
    assert verdict.crash.during in verdict.explanation


@pytest.mark.timeout(120)
def test_a_killed_supervisor_is_infrastructure_and_never_a_crash(tmp_path: Path) -> None:

    pids: list[int] = []

    def steps(trial: Trial) -> Any:
        if len(trial.observations) == 1:
            inner = Path(f"/proc/{trial.target.pid}/stat").read_text().rpartition(")")[2].split()[1]
            pids.append(trial.target.pid)
            os.kill(int(inner), signal.SIGKILL)
        return CycleSpec(len(trial.observations), 20, 10, 0.3, phase=Phase.LOAD)

    request = request_of(
        url="http://127.0.0.1:{port}/events",
        command=(sys.executable, str(SERVICE), "{port}", "healthy"),
        settle=0.3,
        out=tmp_path / "run",
        runtime="none",
    )
    done = guard_once(request, command="test", steps=steps)
    assert done.verdict.outcome is Outcome.INFRASTRUCTURE, done.verdict.explain()
    assert done.verdict.exit_code == 4
    assert "supervisor was killed by SIGKILL" in done.verdict.explanation
    assert done.verdict.crash is None
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("outcome", [Outcome.CRASHED, Outcome.INFRASTRUCTURE])
def test_a_crash_between_two_cycles_is_found(
    outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service exits after the levels of the first cycle were read, and before anything reads it for the second
    one."""

    def killed(running: RunningTrial) -> bool:
        pid = running.parts.target.pid
        if outcome is Outcome.INFRASTRUCTURE:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(pid, signal.SIGKILL)
        assert running.parts.target.wait(60.0)
        return False

    monkeypatch.setattr(RunningTrial, "_folder_is_full", killed)
    request = request_of(
        url="http://127.0.0.1:{port}/events",
        command=(sys.executable, str(SERVICE), "{port}", "healthy"),
        connections=20,
        concurrency=10,
        dwell=0.3,
        settle=0.3,
        out=tmp_path / "run",
        runtime="none",
    )
    done = guard_once(request, command="test")
    assert len(done.trial.observations) == 1
    assert done.verdict.outcome is outcome, done.verdict.explain()
