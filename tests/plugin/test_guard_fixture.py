"""The plugin in a user's test suite."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.edges.command_line import harness_here

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(300)  # whole guards, some again with a longer timeout
SERVICE = Path(__file__).parents[1] / "services" / "plain_sse.py"
TEST = """
    import sys
    def test_stream_releases_everything(guard):
        verdict = guard(
            command=[{python!r}, {service!r}, "{{port}}", {kind!r}], url="http://127.0.0.1:{{port}}/events",
            connections=100, concurrency=25, dwell=0.3, settle=0.2, sensitivity=0.02, retention=0, hold=0, max_time=90,
            runtime={runtime!r})
        assert not [name for name in sys.modules if name.split(".")[0] in ("locust", "gevent")]
        assert verdict.bounded, verdict.explain()
"""


@pytest.mark.parametrize(
    ("kind", "passed", "failed"),
    [
        pytest.param(
            *("healthy", 1, 0),
            marks=pytest.mark.soak(
                reason="tests/edges/test_guides.py runs guards that pass; `make plugin-matrix` this one"
            ),
        ),
        ("eventfd", 0, 1),
    ],
)
def test_a_guard_passes_and_fails_with_its_evidence(
    pytester: pytest.Pytester, kind: str, passed: int, failed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = importlib.util.find_spec("alembic") is not None  # an extra
    monkeypatch.setenv("HARNESS_HISTORY", str(pytester.path / "runs.db") if recorded else "none")
    # Without counters of the runtime a leak takes half of the CPU time, because there is no search for its place. A
    # pass takes several times as much, because more load is needed to bound the memory.
    runtime = "none" if failed else "auto"
    pytester.makepyfile(TEST.format(python=sys.executable, service=str(SERVICE), kind=kind, runtime=runtime))
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--harness-out", str(pytester.path / "out"))
    result.assert_outcomes(passed=passed, failed=failed)
    result.stdout.fnmatch_lines(["*harness reports*", "*report.html*"])
    if failed:
        result.stdout.fnmatch_lines(["*eventfd* per *"])
        assert "Captured harness guard" not in result.stdout.str(), "the failure shows the evidence, once"
    if recorded:
        with closing(sqlite3.connect(pytester.path / "runs.db")) as history:
            (command, outcome) = history.execute("SELECT command, outcome FROM runs").fetchone()
        assert command.startswith("pytest test_a_guard_passes")
        assert outcome == ("leaking" if failed else "bounded")


def marked(word: str) -> list[str]:
    """Every living process that inherited the environment of a test: its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"MARK={word}".encode() in (entry / "environ").read_bytes().split(
                b"\0"
            ):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


TOO_LONG = f"""
    import pathlib, sys, pytest
    def test_too_long(guard):
        guard(
            command=[{sys.executable!r}, {str(SERVICE)!r}, "{{port}}"], url="http://127.0.0.1:{{port}}/events",
            connections=20, concurrency=20, dwell=0.1, settle=0.2, sensitivity=1e-5, max_time=100)
"""
NEXT = f"""
    @pytest.mark.timeout(100)
    def test_guards_again(guard):
        verdict = guard(
            command=[{sys.executable!r}, {str(SERVICE)!r}, "{{port}}", "page"], url="http://127.0.0.1:{{port}}/")
        assert "text/html" in verdict.explain(), verdict.explain()
        others = [
            path.parent.name for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
            if {str(SERVICE)!r} in path.read_text() and pathlib.Path.cwd().name in (path.parent / "environ").read_text()
        ]
        assert not others, "stopped before the next guard is over"
"""


def timed_out(pytester: pytest.Pytester, method: str, *options: str) -> tuple[pytest.RunResult, Path]:
    """Run what was written under pytest-timeout until it hits a guard that has measured something; its run."""
    for seconds in (3, 9, 27):  # a busy machine may not come to the end of a cycle before
        timeout = ("--timeout", str(seconds), "--timeout-method", method)
        out = ("--harness-out", f"out-{seconds}")
        result = pytester.runpytest_subprocess("-p", "no:randomly", *timeout, *out, *options)
        # The signal may come at an instruction that belongs to no line. Its traceback then has None for a line number
        # (CPython 3.11), and pytest itself fails to print it.
        if "_rawentry.tb_lineno - 1" in result.stdout.str() and seconds < 27:
            continue
        for kept in (pytester.path / f"out-{seconds}").glob("*/run.json"):
            if json.loads(kept.read_text())["trials"][0]["observations"]:
                assert (kept.parent / "guard" / "target.log").exists(), "the service had been started"
                return result, kept.parent
    raise AssertionError("what was measured is not kept")


def wait_until_all_exited(word: str) -> None:
    """Wait until no process is left that inherited this environment."""
    ends = time.monotonic() + 20
    while left := marked(word):
        assert time.monotonic() < ends, left
        time.sleep(0.02)


def read_again(run: Path) -> None:
    """The kept part of an aborted run is judged and reported as such."""
    for words, code in ((["judge"], 3), (["report"], 0)):
        done = harness_here(run, *words, run)
        assert done.returncode == code, done.stdout + done.stderr
    assert "interrupted" in (run / "report.html").read_text()


def test_pytest_timeout_ends_a_guard_and_everything_it_started(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK", str(pytester.path))
    pytester.makepyfile(TOO_LONG + NEXT)
    result, run = timed_out(pytester, "signal")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Failed: Timeout*"])
    wait_until_all_exited(str(pytester.path))
    read_again(run)


def test_the_thread_method_ends_pytest_at_once_and_no_process_is_left(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest-timeout then calls os._exit(): no fixture and no finally block runs."""
    monkeypatch.setenv("MARK", str(pytester.path))
    pytester.makepyfile(TOO_LONG)
    result, run = timed_out(pytester, "thread")
    assert result.ret == 1
    assert "Timeout" in result.stderr.str() + result.stdout.str()
    wait_until_all_exited(str(pytester.path))
    read_again(run)


@pytest.mark.soak(reason="7 s of a core; `make plugin-matrix` runs it in every cell")
def test_a_worker_ended_by_the_thread_method_is_replaced(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARK", str(pytester.path))
    pytester.makepyfile(TOO_LONG + NEXT)
    result, run = timed_out(pytester, "thread", "-n", "1")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed while running*test_too_long*"])
    wait_until_all_exited(str(pytester.path))
    read_again(run)


def test_guards_of_two_workers_take_turns(pytester: pytest.Pytester) -> None:
    """Each service holds a lock while it lives and refuses to start beside another."""
    start = (
        "import fcntl, runpy, sys; lock = open('alone', 'w'); fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB); "
        f"runpy.run_path({str(SERVICE)!r}, run_name='__main__')"
    )
    pytester.makepyfile(f"""
        import os, pathlib, time, pytest
        @pytest.mark.parametrize("other", [2, 1])
        def test_waits_for_the_lock(guard, other):
            pathlib.Path(f"ready-{{3 - other}}").touch()
            ends = time.monotonic() + 30
            while not pathlib.Path(f"ready-{{other}}").exists():
                assert time.monotonic() < ends, "the other worker never came"
                time.sleep(0.01)
            verdict = guard(
                command=[{sys.executable!r}, "-c", {start!r}, "{{port}}", "page"], url="http://127.0.0.1:{{port}}/")
            assert "text/html" in verdict.explain(), verdict.explain()
    """)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-n", "2", "--harness-out", "out")
    result.assert_outcomes(passed=2)


def test_unused_it_imports_neither_locust_nor_the_experiment() -> None:
    code = (
        "import sys, harness.pytest_plugin; "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('locust', 'gevent', 'rich', 'zmq')]; "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
