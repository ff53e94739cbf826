"""Attaching to a running Python (3.14 and later); an earlier one gives the reason why it is not possible."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.runtime import python as python_module
from harness.runtime.attach import attach
from harness.runtime.counters import BLOCKS, OBJECTS, Counters, Unavailable
from harness.runtime.python import AGENT, PythonCounters
from tests.edges.servers.clients import line_of
from tests.edges.servers.proof import SERVERS, clean_rates, cycle_of, rates, server
from tests.edges.test_runtime_agent import NOBODY, installed

NEWEST = installed(14)
needs_3_14 = pytest.mark.skipif(not NEWEST, reason="python3.14 is not installed")
NOISE = {OBJECTS: 0.0, BLOCKS: 8.0}
TICKING = "import os, time\nos.write(1, b'out\\n')\nwhile True: time.sleep(0.01)"


@contextmanager
def running(code: str, python: str | None, *options: str) -> Iterator[subprocess.Popen[str]]:
    argv = [str(python or sys.executable), *options, "-c", code]
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "out\n"
        yield child
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()


@needs_3_14
def test_a_running_server_is_attached_to_and_counted(tmp_path: Path) -> None:
    script = SERVERS / "asyncio_server.py"
    with server([str(NEWEST), "-I", str(script)], tmp_path) as (child, port):
        reader = PythonCounters(tmp_path / "agents", child.pid, url=f"http://127.0.0.1:{port}/clean")
        assert isinstance(found := reader.probe(), Counters), found
        clean = clean_rates(reader, cycle_of(port, "/clean"), NOISE, 0.05)
        assert all(abs(rate) <= 0.05 for rate in clean.values()), clean
        assert rates(reader, cycle_of(port, "/object"), NOISE)[OBJECTS] == pytest.approx(1.0, rel=0.05)
        first = reader.attribute(cycle_of(port, "/object")).growths[0]
        assert first.site == f"{script}:{line_of(script, '# planted object')}"
        assert [path.name for path in (tmp_path / "agents").iterdir()] == [f"python-{child.pid}.sock"]


@needs_3_14
def test_every_process_of_the_tree_is_attached_to_and_nothing_of_it_is_seen(tmp_path: Path) -> None:
    code = "import os\nos.fork()\n" + TICKING
    with running(code, NEWEST) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "out\n"
        found = PythonCounters(tmp_path / "agents", child.pid).probe()
        assert isinstance(found, Counters), found
        assert len(found.processes) == 2
        os.killpg(child.pid, signal.SIGKILL)
        assert child.stdout.read() == ""


@needs_3_14
def test_a_blocked_main_thread_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_module, "START_TIMEOUT", 0.3)
    code = "print('out', flush=True); import os; os.read(0, 1); os.read(0, 1)"
    with running(code, NEWEST) as child:
        found = PythonCounters(tmp_path / "agents", child.pid).probe()
        assert isinstance(found, Unavailable)
        assert "was told to load the agent (sys.remote_exec) and does not answer" in found.reason
        # It wakes up later, when the harness no longer waits: it prints nothing and loads nothing.
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("..")
        child.stdin.close()
        assert child.stdout.read() == ""
        (left,) = (tmp_path / "agents").iterdir()
        assert left.read_bytes() == b""


@needs_3_14
def test_a_python_that_forbids_attaching_is_reported(tmp_path: Path) -> None:
    with running(TICKING, NEWEST, "-X", "disable-remote-debug") as child:
        found = PythonCounters(tmp_path / "agents", child.pid).probe()
        assert isinstance(found, Unavailable)
        assert "cannot be attached to: RuntimeError" in found.reason


def test_an_older_python_is_reported_with_the_fix(tmp_path: Path) -> None:
    python = next(path for minor in (11, 12, 13) if (path := installed(minor)))
    with running(TICKING, python) as child:
        found = PythonCounters(tmp_path / "agents", child.pid).probe()
        assert isinstance(found, Unavailable)
        assert "expected `import harness.runtime.agent` in the service" in found.reason
        assert "is older than Python 3.14, so it cannot be attached to" in found.reason
        assert not list((tmp_path / "agents").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_users_program_is_not_run_as_ourselves(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], user=NOBODY) as child:
        try:
            assert f"belongs to user {NOBODY}" in attach(child.pid, tmp_path / "agents", AGENT)
        finally:
            child.kill()
    assert not (tmp_path / "agents").exists()
    assert "cannot be attached to" in attach(child.pid, tmp_path / "agents", AGENT)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a mount namespace")
def test_a_container_is_not_attached_to_from_outside(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", "echo in; exec sleep 60"], stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"in\n"
            assert "has a file system of its own" in attach(child.pid, tmp_path / "agents", AGENT)
        finally:
            child.kill()
