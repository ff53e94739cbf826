"""`harness soak --resume RUN`: after a kill, a SIGTERM and in one run again; and runs that cannot be resumed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import harness as package
from harness.cli import report_end
from harness.cli.resume import resumed_arguments, split_resume, stored_arguments
from harness.cli.soak import command as soak
from harness.core.errors import EXIT_USAGE, ConfigError
from harness.core.judge.trial import judge
from harness.core.record import About, ExitInfo, RunRecord, Trial
from harness.experiment.resume import resumption
from harness.store.plan import save_plan
from harness.store.run_dir import RunDirectory
from tests.core.series import trial
from tests.edges.command_line import (
    HARNESS,
    SERVICES,
    TIMEOUT,
    URL,
    environment,
    harness,
    mentioning,
    wait_for,
)

LOAD = (
    *("--connections", "60", "--concurrency", "20", "--dwell", "300ms", "--settle", "150ms", "--hold", "0"),
    *("--sensitivity", "1/20", "--stall-after", "10s", "--retention", "0", "--quiet"),
)


def saved(run: Path) -> dict[str, Any]:
    (found,) = json.loads((run / "run.json").read_text())["trials"]
    assert isinstance(found, dict)
    return found


def cycles(run: Path) -> int:
    try:
        return len(saved(run)["observations"])
    except (OSError, ValueError):
        return 0


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*HARNESS, "soak", *words],
        cwd=folder,
        env=environment(HARNESS_HISTORY="history.db"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_soak_and_a_stopped_one_resume_to_their_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    service = tmp_path / "plain_sse.py"
    service.write_bytes((SERVICES / "plain_sse.py").read_bytes())
    duration = 32.0
    command = ("--", sys.executable, str(service), "{port}", "healthy")
    words = ("--duration", f"{duration:g}s", *LOAD, "--out", "run", "--url", URL, *command)
    began = time.time()

    first = begun(tmp_path, *words)
    wait_for(lambda: cycles(run) >= 4, "four cycles", within=TIMEOUT)
    busy = harness("soak", "--resume", run, cwd=tmp_path)
    assert (busy.returncode, "another process is still measuring here" in busy.stderr) == (2, True), (
        busy.stderr
    )
    first.send_signal(signal.SIGKILL)
    first.communicate()
    wait_for(lambda: not mentioning(service), "the service to be gone with the harness")
    killed = saved(run)
    assert killed["verdict"] is None

    second = begun(tmp_path, "--resume", "run")
    wait_for(lambda: cycles(run) >= len(killed["observations"]) + 4, "four more cycles", within=TIMEOUT)
    second.send_signal(signal.SIGTERM)
    said, _ = second.communicate(timeout=TIMEOUT)
    stopped = saved(run)
    assert second.returncode == 3, said
    assert stopped["interrupted"]
    assert stopped["verdict"]["outcome"] == "inconclusive"
    assert stopped["verdict"]["explanation"].startswith("the run was interrupted; ")
    # Between them is what was not decided yet, such as a memory that is still warming up.
    assert "no growth o" in stopped["verdict"]["explanation"], stopped["verdict"]["explanation"]
    assert " per connection (95 %)" in stopped["verdict"]["explanation"]

    third = harness(
        "soak", "--resume", "run", "--json", "last.json", cwd=tmp_path, env={"HARNESS_HISTORY": "history.db"}
    )
    whole = saved(run)
    assert third.returncode in (0, 3), third.stdout + third.stderr
    assert "interrupted and resumed 2 times" in third.stdout.replace("\n", " ").replace("            ", "")
    assert any(
        note["kind"] == "stopped" and note["text"].startswith(f"stopped: {duration:g} s are over; ")
        for note in whole["notes"]
    )
    counts = [len(killed["observations"]), len(stopped["observations"])]
    assert [one["after"] for one in whole["restarts"]] == counts
    assert whole["observations"][: counts[0]] == killed["observations"], "what was measured is as it was"
    assert whole["observations"][: counts[1]] == stopped["observations"]
    assert [one["spec"]["index"] for one in whole["observations"]] == list(range(len(whole["observations"])))
    for after in counts:
        assert whole["observations"][after]["spec"]["phase"] == "warmup", "a new process warms up"
    times = [one["started"] for one in whole["observations"]]
    assert times == sorted(times)
    assert duration <= whole["ended"] - whole["started"] < duration + 15, (
        "the same time in all, without the gaps"
    )
    assert time.time() - began > whole["ended"] - whole["started"]
    assert all(one["gap"] > 0 for one in whole["restarts"])

    record, samples = RunDirectory.load(run)
    read = [sample.at for _, sample in samples]
    assert read == sorted(read)
    assert (run / "soak" / "target.1.log").exists()
    assert (run / "soak" / "target.2.log").exists()
    assert json.loads((tmp_path / "last.json").read_text())["run_id"] == record.run_id
    rows = harness(
        "history", "list", "--format", "jsonl", "--history", "history.db", cwd=tmp_path
    ).stdout.splitlines()
    assert {json.loads(row)["run_id"] for row in rows} == {record.run_id}
    assert len({json.loads(row)["outcome"] for row in rows}) == 1, "one run, with its last outcome"
    over = harness("soak", "--resume", "run", cwd=tmp_path)
    if third.returncode == 0:
        assert (over.returncode, "it ended as bounded; expected an interrupted soak" in over.stderr) == (
            2,
            True,
        )


INTERRUPTED = replace(trial([10.0] * 5, interrupted=True, about=About(soak=True)), name="soak")
PLAN = ("--duration", "60s", "--url", URL, "--", "/nowhere/service", "{port}")


def kept(
    folder: Path, one: Trial | None = None, *, command: str = "harness soak --duration 60s", **more: Any
) -> Path:
    """A saved run whose last writer has ended."""
    found = one or INTERRUPTED
    found = replace(found, verdict=judge(found))
    record = RunRecord(
        "id", command, "2026-01-01T00:00:00+00:00", 0, (found,), harness_version=package.__version__
    )
    with RunDirectory.create(folder / "run", "id") as directory:
        directory.checkpoint(replace(record, **more))
        save_plan(directory, PLAN)
    return folder / "run"


def resume(*words: str | Path) -> Result:
    return CliRunner().invoke(soak, ["--resume", *map(str, words)])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_HISTORY", "none")
    return tmp_path


def crashed() -> Trial:
    return replace(INTERRUPTED, interrupted=False, exit=ExitInfo(-6, 12.0, 900))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda here: here, "no run at run: expected a folder with run.json"),
    "killed before its first reading": (
        lambda here: (kept(here) / "run.json").unlink(),
        "it was interrupted before anything was measured; start a new soak",
    ),
    "finished": (
        lambda here: kept(here, replace(INTERRUPTED, interrupted=False)),
        "it ended as inconclusive; expected an interrupted soak",
    ),
    "crashed": (lambda here: kept(here, crashed()), "its service crashed, so the soak is over"),
    "of a guard": (
        lambda here: kept(here, command="harness guard --url x"),
        "a run of `harness guard`; expected one of `harness soak`",
    ),
    "of another version": (
        lambda here: kept(here, harness_version="0.0.1"),
        "measured by harness 0.0.1, this is ",
    ),
    "of a newer schema": (
        lambda here: kept(here) and (here / "run/run.json").write_text('{"schema_version": 99}'),
        "schema_version 99: this harness reads records up to",
    ),
    "damaged": (lambda here: kept(here) and (here / "run/run.json").write_text('{"tri'), "it is not JSON"),
    "without a plan": (
        lambda here: (kept(here) / "plan.json").unlink(),
        "cannot be resumed without its plan",
    ),
    "with a damaged plan": (
        lambda here: (kept(here) / "plan.json").write_text('{"words": [1], "folder": "", "version": 1}'),
        "not the plan of a soak",
    ),
    "with a plan that is not JSON": (
        lambda here: (kept(here) / "plan.json").write_text("[" * 9999),
        "not the plan of a soak",
    ),
    "whose service is gone": (kept, "no such command; expected the program that starts the service"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_run_that_cannot_be_resumed_is_one_clear_error_and_stays_as_it_is(kind: str, here: Path) -> None:
    spoil, said = BROKEN[kind]
    spoil(here)
    before = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()}
    done = resume("run")
    assert isinstance(done.exception, ConfigError), done.output
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert report_end(done.exception) == EXIT_USAGE
    assert {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()} == before


def test_a_soak_is_resumed_in_the_folder_where_it_was_started(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept(here)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert f"it was started in {here}; change there first: cd {here}" in str(resume(run).exception)


@pytest.mark.parametrize(
    "words", [("--connections", "5"), ("--duration", "9h"), ("--out", "other"), ("stray",)]
)
def test_the_plan_stays_the_same(words: tuple[str, ...], here: Path) -> None:
    kept(here)
    said = str(resume("run", *words).exception)
    assert said.startswith(f"{words[0]}: a resumed soak keeps its plan; expected --resume run alone")


def test_options_of_the_output_may_be_given_and_the_whole_command_too(here: Path) -> None:
    run = kept(here)
    for rest, words in (
        ((), PLAN),
        (("--quiet", "--json", "x.json"), (*PLAN[:4], "--quiet", "--json", "x.json", *PLAN[4:])),
        (("--format=json",), (*PLAN[:4], "--format=json", *PLAN[4:])),
        (PLAN, PLAN),
    ):
        found = resumption(run)
        assert resumed_arguments(found, rest) == list(words)
        found.directory.close()


ATTACHED = ("--duration", "60s", "--pid", "17", "--url=http://127.0.0.1:8000/e?a=1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), ATTACHED),
        (("--pid", "18"), (*ATTACHED[:2], ATTACHED[4], "--pid", "18")),
        (("--pid=18", "--quiet"), (*ATTACHED[:2], ATTACHED[4], "--pid=18", "--quiet")),
        (("--url", "http://[::1]:9000/e?a=1"), (*ATTACHED[:4], "--url", "http://[::1]:9000/e?a=1")),
    ],
)
def test_a_running_service_may_have_another_address_after_a_reboot(
    given: tuple[str, ...], words: tuple[str, ...], here: Path
) -> None:
    found = resumption(kept(here))
    attached = replace(found, plan=replace(found.plan, arguments=ATTACHED))
    assert resumed_arguments(attached, given) == list(words)
    found.directory.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--attach-port", "8000"), "--attach-port: a resumed soak keeps its plan; .*--pid, --url, or with"),
        (("--pid",), "--pid: a resumed soak keeps its plan"),
        (("--url", "http://127.0.0.1:8000/e?a=2"), "expected another host or port at most, as in http://127"),
        (("--url", "http://127.0.0.1:8000/f?a=1"), "expected another host or port at most"),
        (("--ready", "http://127.0.0.1:8000/"), "--ready: a resumed soak keeps its plan"),
    ],
)
def test_requests_to_a_running_service_stay_the_same(given: tuple[str, ...], said: str, here: Path) -> None:
    found = resumption(kept(here))
    attached = replace(found, plan=replace(found.plan, arguments=ATTACHED))
    with pytest.raises(ConfigError, match=said):
        resumed_arguments(attached, given)
    found.directory.close()


@contextlib.contextmanager
def running(service: Path) -> Iterator[tuple[int, int]]:
    """Pid and port of a service that only the test starts and ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with subprocess.Popen([sys.executable, str(service), str(port), "healthy"]) as process:
        try:
            wait_for(lambda: listens(port), "the service to listen")
            yield process.pid, port
        finally:
            process.kill()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.soak(reason="two soaks of a service that is attached to")
@pytest.mark.parametrize("way", ["pid", "probe"])
def test_a_soak_of_a_running_service_continues_with_its_successor(way: str, tmp_path: Path) -> None:
    service = SERVICES / "plain_sse.py"

    def place(pid: int, port: int) -> tuple[str, ...]:
        probe = f"{sys.executable} -m harness.cli probe --pid {pid}"
        attach = ("--pid", str(pid)) if way == "pid" else ("--probe-command", probe)
        return (*attach, "--url", f"http://127.0.0.1:{port}/e")

    with running(service) as (pid, port):
        first = begun(tmp_path, "--duration", "24s", *LOAD, "--out", "run", *place(pid, port))
        wait_for(
            lambda: cycles(tmp_path / "run") >= 4 or first.poll() is not None, "four cycles", within=TIMEOUT
        )
        first.send_signal(signal.SIGKILL)
        first.communicate()
    before = saved(tmp_path / "run")["observations"]
    with running(service) as (pid, port):
        done = harness("soak", "--resume", "run", *place(pid, port), cwd=tmp_path)
    whole = saved(tmp_path / "run")
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert whole["observations"][: len(before)] == before
    assert len(whole["observations"]) >= len(before) + 4
    (restart,) = whole["restarts"]
    assert restart["after"] == len(before)
    assert whole["verdict"]["outcome"] in ("bounded", "inconclusive"), (
        "levels of two processes are never joined"
    )


def test_secrets_are_not_stored_and_have_to_be_given_again(here: Path) -> None:
    run = kept(here)
    secret = (
        "--header",
        "Authorization: Bearer sesame",
        "--body=open",
        "--header",
        "@file",
        "--notify",
        "http://x/sesame",
    )
    words = (
        "--duration",
        "60s",
        *secret,
        "--url",
        URL,
        "--",
        "app",
        "--api-key",
        "sesame",
        "--port",
        "{port}",
    )
    with soak.make_context("soak", list(words)) as context:
        stored = stored_arguments(context)
    assert "sesame" not in str(stored)
    assert stored[2:8] == ["--header", "***", "--body=***", "--header", "@file", "--notify"]
    found = resumption(run)
    for kept_words in (tuple(stored), tuple(stored[:2] + stored[-7:])):
        changed = replace(found, plan=replace(found.plan, arguments=kept_words))
        with pytest.raises(ConfigError, match=r"the secret of (--header|the command) was not stored"):
            resumed_arguments(changed, ())
    changed = replace(found, plan=replace(found.plan, arguments=tuple(stored)))
    assert resumed_arguments(changed, words) == list(words)
    with pytest.raises(ConfigError, match="a resumed soak keeps its plan"):
        resumed_arguments(changed, [word.replace("60s", "61s") for word in words])
    found.directory.close()


def test_the_option_is_found_before_the_command_only() -> None:
    assert split_resume(["--quiet", "--resume", "a", "--", "x"]) == ("a", ["--quiet", "--", "x"])
    assert split_resume(["--resume=a"]) == ("a", [])
    assert split_resume(["--", "x", "--resume", "a"])[0] is None
    assert split_resume(["--resume"])[0] is None
    assert split_resume(["--resume", "--", "x"])[0] is None


def test_the_clock_continues_where_it_stopped_and_the_gap_is_left_out(here: Path) -> None:
    run = kept(here, replace(INTERRUPTED, started=1.0, ended=24.0))
    written = (run / "run.json").stat().st_mtime
    found = resumption(run, now=written + 3600)
    found.directory.close()
    assert (found.at, found.used) == (24.0, 23.0)
    (restart,) = found.trial.restarts
    assert restart.gap == pytest.approx(3600, abs=1)
    assert restart.after == len(INTERRUPTED.observations)
    (note,) = found.trial.notes
    assert note.text == f"resumed after {restart.after} cycles and a gap of 1.0 h"
    assert (note.kind, note.data["cycles"]) == ("resumed", restart.after)
    assert found.trial.verdict is None
    assert not found.trial.interrupted


def test_a_service_that_does_not_start_again_costs_no_cycle(here: Path) -> None:
    run = kept(here)
    words = (*PLAN[:4], "--", sys.executable, "-c", "raise SystemExit('not today')")
    directory = RunDirectory.open(run)
    save_plan(directory, words)
    before = saved(run)["observations"]
    done = harness("soak", "--resume", "run", cwd=here)
    assert done.returncode == 1, done.stdout + done.stderr
    assert saved(run)["verdict"]["outcome"] == "unready"
    assert saved(run)["observations"] == before
    found = resumption(run)
    found.directory.close()
    assert len(found.trial.observations) == len(before), "and it can be resumed once more"
