"""The command line from outside: interrupts, kills, bad input, saved runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import COMMANDS, cli
from harness.process.child import Child
from harness.runtime.channel import ask_all, default_directory
from harness.target.ready import wait_ready
from harness.target.spawn import free_port
from tests.edges.command_line import (
    DEADLINE,
    HARNESS,
    SERVICES,
    SMALL,
    TIMEOUT,
    URL,
    environment,
    harness,
    harness_here,
    mentioning,
    wait_for,
    within,
)

SERVICE = SERVICES / "plain_sse.py"
AGAIN = pytest.mark.soak(reason="the same code as the case that is a short test")
GUARD = (*HARNESS, "guard", "--retention", "0", "--url", URL, "--connections", "100", "--concurrency", "20")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    service = [sys.executable, str(SERVICE), "{port}", "healthy", str(tmp_path)]
    with subprocess.Popen(
        [*GUARD, "--out", str(tmp_path / "run"), "--", *service],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as guard:
        record = tmp_path / "run" / "run.json"

        def cycles() -> int:
            return record.read_text().count('"close_lag"') if record.exists() else 0

        wait_for(lambda: cycles() >= 1 or guard.poll() is not None, "a cycle was saved")
        yield guard
        guard.kill()


def test_ctrl_c_stops_everything_within_three_seconds_and_keeps_what_was_measured(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    with within(3.0, running):
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=DEADLINE)
    assert running.returncode == 3, err
    assert "interrupted" in out
    assert not re.search(r"^Traceback", out + err, re.MULTILINE)  # lines of the service's log are marked
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["trials"][0]["observations"], "the finished cycles are kept"
    wait_for(lambda: not mentioning(tmp_path), "nothing is left")
    again = harness_here(tmp_path, "judge", tmp_path / "run")
    assert again.returncode == 3
    assert "interrupted" in again.stdout


@pytest.mark.parametrize("first", ["Ctrl-C", "the service dies"])
def test_a_generator_that_is_too_slow_to_stop_hides_no_finding(
    first: str, running: subprocess.Popen[str], tmp_path: Path
) -> None:
    """The generator is stopped, as an extreme case of a machine without time for it."""
    (swarm,) = [pid for pid in mentioning("harness.swarm.child") if str(tmp_path) in environment_log(pid)]
    os.kill(swarm, signal.SIGSTOP)
    if first == "Ctrl-C":
        # Without a limit of its own for an interrupted run it would be CANCEL_TIMEOUT, ten seconds.
        with within(6.0, running):
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=DEADLINE)
    else:
        (service,) = [pid for pid in mentioning(tmp_path) if words_of(pid)[1] == str(SERVICE)]
        os.kill(service, signal.SIGSEGV)
        out, err = running.communicate(timeout=DEADLINE)
    assert (running.returncode, out.split()[0]) == {
        "Ctrl-C": (3, "INCONCLUSIVE"),
        "the service dies": (1, "CRASHED"),
    }[first], out + err
    wait_for(lambda: not mentioning(tmp_path), "nothing is left")


LEAKS = SERVICES / "asyncio_service.py"
# Answers from outside too, as a service does that the harness has not started (docs/runtime.md).
ITSELF = "import harness.runtime.agent, runpy, sys; sys.argv[:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.parametrize(
    "whose", ["started", pytest.param("attached", marks=AGAIN), pytest.param("blocked", marks=AGAIN)]
)
def test_ctrl_c_while_the_place_in_the_source_is_looked_for_keeps_the_leak_that_is_certain(
    whose: str, tmp_path: Path
) -> None:
    port = str(free_port()) if whose == "attached" else "{port}"
    service = [sys.executable, "-c", f"{ITSELF}  # {tmp_path}", str(LEAKS), port, "eventfd@connection"]
    guard = [
        *HARNESS,
        "guard",
        "--retention",
        "0",
        *SMALL,
        "--out",
        str(tmp_path / "run"),
        "--url",
        URL.replace("{port}", port),
    ]
    env = environment(PYTHONPATH=str(LEAKS.parent))
    with ExitStack() as stack:
        if whose == "attached":
            own = stack.enter_context(Child.spawn(service, log=tmp_path / "own.log", name="own", env=env))
            wait_ready(URL.replace("{port}", port), own, timeout=DEADLINE)
            guard += ["--pid", str(own.pid)]
        else:
            guard += ["--", *service]
        run = stack.enter_context(subprocess.Popen(guard, stdout=-1, stderr=-1, text=True, env=env))
        stack.callback(run.kill)
        assert run.stderr
        lines = iter(run.stderr.readline, "")
        assert next((line for line in lines if "looking for its place in the source" in line), None)
        if whose == "blocked":  # its interpreter no longer answers
            (pid,) = [pid for pid in mentioning(tmp_path) if words_of(pid)[1] == "-c"]
            os.kill(pid, signal.SIGSTOP)
        with within(3.0, run):
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=DEADLINE)
        assert run.returncode == 1, "a leak that is certain stays one: " + out + err
        assert out.startswith("LEAKING"), out
        assert "the search for its place in the source was interrupted" in out
        assert not re.search(r"^Traceback", out + err, re.MULTILINE)
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["trials"][0]["interrupted"]
        again = harness_here(tmp_path, "judge", tmp_path / "run")
        assert (again.returncode, "eventfd" in again.stdout) == (1, True)
        if whose == "attached":
            (answer,) = ask_all(default_directory(), "python", "read", among={own.pid})
            assert not answer.body["tracing"], "what runs on is left as it was"
    wait_for(lambda: not mentioning(tmp_path), "nothing is left")


@pytest.mark.parametrize("what", ["a service that is never ready", "a probe command that is silent"])
def test_ctrl_c_stops_a_run_before_the_first_cycle_too(what: str, tmp_path: Path) -> None:
    words = {
        "a service that is never ready": [
            *("--url", URL, "--", sys.executable, str(SERVICES / "difficult.py"), "{port}", "never")
        ],
        "a probe command that is silent": ["--url", "http://127.0.0.1:1/", "--probe-command"],
    }[what]
    if "probe" in what:
        words.append(f"{sys.executable} -c 'import signal; signal.pause()' {tmp_path}/never")
    else:
        words.append(f"{tmp_path}/never")
    command = [*HARNESS, "guard", "--retention", "0", "--quiet", "--out", str(tmp_path / "run"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as guard:
        wait_for(lambda: len(mentioning(f"{tmp_path}/never")) > 1, "it has been started")
        with within(3.0, guard):
            guard.send_signal(signal.SIGINT)
            out, err = guard.communicate(timeout=DEADLINE)
    assert guard.returncode == 3, out + err
    assert "INCONCLUSIVE  the run was interrupted" in out
    assert (tmp_path / "run" / "report.html").exists()
    wait_for(lambda: not mentioning(f"{tmp_path}/never"), "nothing is left")


def test_two_seconds_after_kill_9_no_process_is_left(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(mentioning(str(tmp_path))) >= 2, "service and harness are up"
    with within(2.0, running):
        running.kill()
        running.wait()
        wait_for(lambda: not mentioning(tmp_path), "everything died with the harness")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["reproduce", "--profile", "nobody"], 2, "nobody"),
        (["reproduce", "--connections", "0"], 2, "--connections"),
        (["reproduce", "--nonsense"], 2, "--nonsense"),
        (["reproduce", "--profile", "fixed", "--out", "/proc/nowhere"], 4, "/proc/nowhere"),
        (["judge", "/nonexistent"], None, "/nonexistent"),
        (["probe", "--pid", "999999999"], 4, "999999999"),
        (
            [
                "soak",
                "--duration",
                "9s",
                "--max-size",
                "9",
                "--url",
                "http://127.0.0.1:{port}/",
                "--",
                "true",
            ],
            2,
            "expected at least 1 MiB",
        ),
        (["soak", "--duration", "0", "--url", "http://127.0.0.1:{port}/", "--", "true"], 2, "--duration"),
    ],
)
def test_invalid_input_is_one_clear_line(
    arguments: list[str], code: int | None, words: str, tmp_path: Path
) -> None:
    done = harness_here(tmp_path, *arguments)
    assert done.returncode in ((2, 4) if code is None else (code,)), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_without_proc_nothing_starts_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "sh", *HARNESS, "reproduce", "--profile", "fixed"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, timeout=60
    )
    if os.geteuid() != 0:
        pytest.skip("hiding /proc needs root")
    assert done.returncode == 4
    assert "mount -t proc" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted: that needs root")
def test_a_disk_that_fills_up_is_one_line_and_what_was_measured_until_then_is_kept(tmp_path: Path) -> None:
    script = (
        'mount -t tmpfs -o size=64k none "$0" || exit 77; "$@"; code=$?; '
        f'{sys.executable} -m harness.cli judge "$0/run"; echo "judged $?"; exit $code'
    )
    service = (sys.executable, str(SERVICE), "{port}", "healthy", str(tmp_path))
    load = ("--connections", "60", "--dwell", "300ms", "--settle", "150ms", "--quiet")
    command = (
        *HARNESS,
        "guard",
        "--retention",
        "0",
        *load,
        "--url",
        URL,
        "--out",
        str(tmp_path / "run"),
        "--",
        *service,
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(tmp_path), *command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "No space left on device; free some space or choose another output folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "judged 3" in done.stdout
    assert "INCONCLUSIVE" in done.stdout
    wait_for(lambda: not mentioning(tmp_path), "nothing is left")


def test_a_broker_that_exits_is_infrastructure(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [*HARNESS, "reproduce", "--profile", "fixed", "--quiet", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        record = out / "run.json"
        wait_for(lambda: record.exists() and '"close_lag"' in record.read_text(), "a cycle was saved")
        (broker,) = [pid for pid in mentioning("fake_broker") if str(out) in environment_log(pid)]
        os.kill(broker, signal.SIGKILL)
        text, _ = run.communicate(timeout=DEADLINE)
    assert run.returncode == 4, text
    assert "broker" in text


def words_of(pid: int) -> list[str]:
    """The arguments of its command line; two empty texts once it has exited."""
    try:
        return [*Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0"), ""]
    except OSError:
        return ["", ""]


def environment_log(pid: int) -> str:
    """Where a process writes its standard output: the run's folder, for a child of that run."""
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""


def test_a_soak_ends_at_its_duration_with_every_cycle_on_disk(tmp_path: Path) -> None:
    load = ("--connections", "100", "--concurrency", "20", "--dwell", "300ms", "--settle", "300ms")
    asked = ("--sensitivity", "1/20", "--stall-after", "10s", "--hold", "0", "--quiet", "--url", URL)
    service = ("--", sys.executable, SERVICE, "{port}", "healthy")
    for duration in (10, 50):  # a busy machine needs longer for as many cycles
        out, began = tmp_path / f"run{duration}", time.monotonic()
        done = harness("soak", "--duration", f"{duration}s", *load, *asked, "--out", out, *service)
        (trial,) = json.loads((out / "run.json").read_text())["trials"]
        assert any(note["text"].startswith(f"stopped: {duration} s are over") for note in trial["notes"])
        seen = trial["observations"]
        assert time.monotonic() - began >= duration
        if done.returncode != 3:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert trial["verdict"]["outcome"] == "bounded"
    assert len(seen) >= 4


def test_doctor_reports_whether_this_machine_can_run_it() -> None:
    done = harness("doctor")
    assert done.returncode == 0, done.stdout
    assert "all checks passed" in done.stdout
    core = str(min(os.sched_getaffinity(0)))
    slow = subprocess.run(
        ["taskset", "-c", core, *HARNESS, "doctor"], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert slow.returncode == 0, slow.stdout
    assert "1: the swarm and the service slow each other down" in slow.stdout
    poor = subprocess.run(
        ["prlimit", "--nofile=64:64", *HARNESS, "doctor"], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert poor.returncode == 4, poor.stdout
    (line,) = [line for line in poor.stdout.splitlines() if line.startswith("FIX ")]
    assert "ulimit -n" in line
    assert "hard 64" in line


def test_help_lists_every_command_and_each_has_its_own() -> None:
    listing = CliRunner().invoke(cli, ["--help"]).output
    for name, short in COMMANDS.items():
        assert f"{name} " in listing
        assert short in " ".join(listing.split())
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_output_that_cannot_be_written_or_shown_is_no_defect(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*HARNESS, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (
        4,
        "harness: cannot write: No space left on device; free some space\n",
    )
    service = ("--", sys.executable, SERVICES / "difficult.py", "{port}", "login")
    options = ("guard", "--retention", "0", "--quiet", "--out", tmp_path / "run", "--url", URL)
    shown = harness(*options, *service, env={"PYTHONIOENCODING": "ascii"})
    assert shown.returncode == 1, shown.stderr
    assert "--header 'Authorization: \\u2026'" in shown.stdout
