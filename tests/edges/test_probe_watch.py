"""The live view: growth in words, the same figures for Prometheus, and a clean end."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from rich.console import Console

from harness.core.sample import Census, Sample
from harness.probe.watch import View
from tests.edges.probe_target import DEADLINE, ScriptedProcess, wait_for

WATCH = [sys.executable, "-m", "harness.cli", "watch"]


def test_growth_is_reported_in_words_and_ctrl_c_ends_it() -> None:
    with ScriptedProcess() as scripted:
        watching = subprocess.Popen(
            [*WATCH, str(scripted.pid), "--prometheus", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        address = watching.stdout.readline().strip()

        def scraped() -> str:
            with urllib.request.urlopen(address, timeout=DEADLINE) as answer:
                return answer.read().decode()

        wait_for(lambda: 'class="pipe"' in scraped(), "a first census")
        scripted.run("import os; kept += [os.eventfd(0) for _ in range(7)]")
        wait_for(lambda: 'harness_fds_by_class{class="eventfd"} 7.0' in scraped(), "growth is exported")
        wait_for(lambda: "harness_target_up 1.0" in scraped(), "no gap, but for a machine held up")
        assert address.startswith("http://127.0.0.1:")
        watching.send_signal(signal.SIGINT)
        said, errors = watching.communicate(timeout=DEADLINE)
        assert watching.returncode == 0
        assert errors == ""
        assert re.search(r"\+7 eventfd: an eventfd is made and never closed", said.replace("\n", " "))


def test_the_end_of_the_process_ends_the_view() -> None:
    with ScriptedProcess() as scripted:
        watching = subprocess.Popen([*WATCH, str(scripted.pid)], stdout=subprocess.PIPE, text=True)
        assert watching.stdout is not None
        assert "descriptors" in watching.stdout.readline()
        scripted.process.kill()
        scripted.process.wait()
        said, _ = watching.communicate(timeout=DEADLINE)
        assert watching.returncode == 0
        assert "the process has exited" in said


def test_a_count_that_was_never_read_has_not_stayed_the_same() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    view = View(1, "gone")
    console.print(view.render([Sample(0.0, gap="the process has exited")], 1.0))
    said = console.export_text()
    assert "what it holds could not be read yet" in said
    assert "nothing has grown" not in said
    view.census(Census(0.0, fds={"file": 3}, processes=1))
    console.print(view.render([Sample(1.0, fds=3)], 1.0))
    assert "nothing has grown since the start" in console.export_text()


def test_in_forty_columns_the_names_and_the_whole_series_are_there() -> None:
    console = Console(width=40, record=True, file=io.StringIO())
    view = View(1, "narrow")
    view.census(Census(0.0, fds={"eventfd": 3, "rowless-socket": 1}, processes=1))
    view.census(Census(9.0, fds={"eventfd": 99, "rowless-socket": 1}, processes=1))
    samples = [Sample(n / 10, fds=n, threads=2, processes=1, zombies=0, rss=123 << 20) for n in range(1, 101)]
    console.print(view.render(samples, 10.0))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 40
    first = {line.split()[0]: line.split() for line in lines if line.strip()}
    *counts, series = first["descriptors"]
    assert counts == ["descriptors", "100", "+99"]
    assert (series[0], series[-1]) == ("▁", "█")
    assert len(series) >= 8
    assert first["resident"][1:3] == ["123.0", "MiB"]
    assert first["eventfd"][1:3] == ["99", "+96"]
    assert "rowless-socket" in first


def test_a_closed_output_is_no_fault_of_the_service() -> None:
    """As with ``| head -1``: the exit code must not be that of a fault of the service."""
    with ScriptedProcess() as scripted:
        argv = [*WATCH, str(scripted.pid), "--prometheus", "0"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
            assert watching.stdout is not None
            assert watching.stderr is not None
            watching.stdout.readline()
            watching.stdout.close()
            assert watching.stderr.read() == b""
            assert watching.wait(DEADLINE) == 0


def test_on_a_terminal_it_is_redrawn_and_the_cursor_comes_back() -> None:
    with ScriptedProcess() as scripted:
        leader, follower = pty.openpty()
        watching = subprocess.Popen(
            [*WATCH, str(scripted.pid)],
            stdout=follower,
            stderr=follower,
            close_fds=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(follower)
        said = b""
        while b"descriptors" not in said:
            said += os.read(leader, 65536)
        watching.send_signal(signal.SIGINT)
        try:
            while data := os.read(leader, 65536):
                said += data
        except OSError:
            pass  # EIO: the other side is closed
        assert watching.wait(DEADLINE) == 0
        assert "▁".encode() in said
        assert said.rfind(b"\x1b[?25h") > said.rfind(b"\x1b[?25l") >= 0
        os.close(leader)


def test_no_such_process_and_a_taken_port_are_one_line() -> None:
    gone = subprocess.run([*WATCH, "4194999"], capture_output=True, text=True, check=False)
    assert gone.returncode == 4
    assert "no such process" in gone.stderr
    both = subprocess.run(WATCH, capture_output=True, text=True, check=False)
    assert both.returncode == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--interval", "nan"], "'nan' is not a number; expected one in the range 0.01<=x<=3600"),
        (["--port", "1"], "harness: --port 1: nothing listens there"),
    ],
    ids=["nan", "nobody listens"],
)
@pytest.mark.parametrize("command", ["watch", "probe"])
def test_an_invalid_option_is_one_line_that_names_it(command: str, words: list[str], expected: str) -> None:
    who = {"watch": [], "probe": ["--count", "1"]}[command]
    if "--port" not in words:
        who += {"watch": [str(os.getpid())], "probe": ["--pid", str(os.getpid())]}[command]
    argv = [sys.executable, "-m", "harness.cli", command, *who, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert expected in done.stderr
