"""`harness memory`: two snapshots, what grew between them, and a page that shows it."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.memory import command
from harness.core.errors import ConfigError, StoreError
from harness.report.memory import boxes, render, tree
from harness.runtime.snapshot import Snapshot
from tests.edges.servers.clients import line_of, wait_for
from tests.reports.devtools import opened

PROGRAM = """\
import time
KEPT = []
def leak():
    KEPT.append(bytearray(1000))  # planted
for _ in range(100_000):
    leak()
    time.sleep(0.002)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(PROGRAM)
    return path


def harness(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "harness.cli", "memory", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def saved(
    path: Path, traces: dict[tuple[tuple[str, int], ...], tuple[int, int]], connections: int | None = None
) -> Path:
    Snapshot(traces, connections).save(path)
    return path


def test_run_finds_the_line_that_keeps_without_any_load(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    when = ("--after", "0.3s", "--every", "0.5s", "--for", "2.5s")
    done = harness("run", "--out", str(out), *when, "--", sys.executable, str(program))
    assert done.returncode == 0, done.stderr
    planted = line_of(program, "# planted")
    assert f"{program}:{planted}:" in done.stdout.splitlines()[1]
    page = (out / "memory.html").read_text()
    assert f"{program}:{planted}" in page
    assert stat.S_IMODE((out / "last.snapshot").stat().st_mode) == 0o600


def test_run_stops_at_ctrl_c_and_still_prints_what_grew(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "harness.cli", "memory", "run", "--out", str(out), "--after", "0.1s"]
    with subprocess.Popen(
        [*argv, "--every", "0.2s", "--", sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    ) as running:
        wait_for((out / "last.snapshot").exists, "two snapshots")
        running.send_signal(signal.SIGINT)
        text, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert f"{program}:{line_of(program, '# planted')}" in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((sys.executable, "-c", "print('over')"), 1, "exited with 0 before two snapshots"),
        ((sys.executable, "-I", "-c", "import time; time.sleep(9)"), 2, "runs with -I"),
        (("/nowhere/at/all",), 1, "cannot run '/nowhere/at/all'"),
    ],
)
def test_run_names_what_cannot_be_traced(
    words: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    done = harness("run", "--out", str(tmp_path / "out"), "--", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr


def test_a_length_in_which_no_two_snapshots_fit_is_refused_at_once(program: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    when = ("--after", "2s", "--for", "1s")
    done = harness("run", "--out", str(out), *when, "--", sys.executable, str(program))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--for 1: ends before the second snapshot; expected more than --after (2 s)" in done.stderr
    assert not out.exists()


def test_ctrl_c_is_handled_while_nothing_answers_yet(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "harness.cli", "memory", "run", "--out", str(tmp_path / "out")]
    with subprocess.Popen([*argv, "--", "sleep", "60"], stderr=subprocess.PIPE, text=True) as running:
        wait_for((tmp_path / "out" / "target.log").exists, "the program is being started")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 3
    assert "stopped during the inspection of the program" in said


def test_a_closed_output_of_memory_diff_exits_with_4_without_a_message(tmp_path: Path) -> None:
    before, after = saved(tmp_path / "a", {}), saved(tmp_path / "b", {(("a.py", 1),): (3, 300)})
    argv = [sys.executable, "-m", "harness.cli", "memory", "diff", str(before), str(after)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) == 4


def test_diff_is_per_connection_own_lines_first_and_counts_the_rest(tmp_path: Path) -> None:
    library = ("/usr/lib/python3.11/json/decoder.py", 5)
    before = saved(tmp_path / "a", {(("/srv/app.py", 3),): (10, 1000)}, 100)
    grown = {
        (("/srv/app.py", 3),): (210, 21000),
        (library, ("/srv/app.py", 9)): (400, 80000),
        (library,): (500, 900_000),
    }
    after = saved(tmp_path / "b", grown, 300)
    done = CliRunner().invoke(command, ["diff", str(before), str(after), "--top", "2"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "/srv/app.py:9: 2.00 blocks, 400 B per connection"
    assert lines[1] == "/srv/app.py:3: 1.00 blocks, 100 B per connection"
    assert lines[2] == "and 1 more"
    assert "over 200 connections" in lines[3]
    later = saved(tmp_path / "c", grown, None)
    done = CliRunner().invoke(command, ["diff", str(before), str(later), "--top", "2"])
    assert done.output.splitlines()[0] == "/srv/app.py:9: 400 blocks, 80 kB"


def test_diff_reads_what_tracemalloc_itself_has_dumped(tmp_path: Path) -> None:
    tracemalloc.start(5)
    try:
        tracemalloc.take_snapshot().dump(str(tmp_path / "a"))
        kept = [bytearray(999) for _ in range(50)]  # planted here
        tracemalloc.take_snapshot().dump(str(tmp_path / "b"))
    finally:
        tracemalloc.stop()
    done = CliRunner().invoke(
        command, ["diff", str(tmp_path / "a"), str(tmp_path / "b"), "--connections", str(len(kept))]
    )
    planted = line_of(Path(__file__), "# planted here")
    assert re.match(
        rf"{__file__}:{planted}: 2\.\d\d blocks, 1\.?\d* kB per connection", done.output.splitlines()[0]
    )


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "evil").write_bytes(f"cos\nsystem\n(S'touch {ran}'\ntR.".encode())
    with pytest.raises(ConfigError, match="not a snapshot"):
        Snapshot.load(tmp_path / "evil")
    assert not ran.exists()


def test_missing_damaged_and_swapped_snapshots_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Snapshot.load(tmp_path / "missing")
    old, new = saved(tmp_path / "old", {}, 5), saved(tmp_path / "new", {}, 9)
    assert harness("diff", str(new), str(old)).returncode == 2
    cut = tmp_path / "cut"
    cut.write_bytes(new.read_bytes()[:20])
    with pytest.raises(ConfigError, match="not a snapshot"):
        Snapshot.load(cut)
    with pytest.raises(StoreError, match="No space left"):
        Snapshot({(("a", 1),): (1, 1)}).save(Path("/dev/full"))


def test_the_page_is_one_file_and_nothing_in_a_path_runs(tmp_path: Path) -> None:
    evil = '/srv/<script>alert(1)</script>"onmouseover="alert(2).py'
    before, after = saved(tmp_path / "a", {}, 0), saved(tmp_path / "b", {((evil, 1),): (3, 300)}, 10)
    out = tmp_path / "page.html"
    assert harness("show", str(before), str(after), "--out", str(out)).returncode == 0
    page = out.read_text()
    assert "<script>alert" not in page
    assert '"onmouseover' not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"https?://|src=|@import", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o600


def test_a_click_widens_a_frame_and_the_top_brings_all_back(tmp_path: Path) -> None:
    grown = {
        (("lib.py", 1), ("app.py", 2)): (1, 300.0),
        (("app.py", 3), ("app.py", 2)): (2, 100.0),
    }
    page = tmp_path / "memory.html"
    page.write_text(render(grown, [], connections=None, is_library=lambda _: False))
    drawn = (
        "Object.fromEntries([...document.querySelectorAll('.frame')].map(frame => [frame.textContent, "
        "frame.hidden ? null : [frame.offsetLeft, frame.offsetWidth].map(px => "
        "Math.round(px / document.querySelector('#flame').clientWidth * 100) / 100)]))"
    )
    middle = (
        "(box => [box.x + box.width / 2, box.y + box.height / 2])"
        "([...document.querySelectorAll('.frame')].find(f => f.textContent == '{}').getBoundingClientRect())"
    )
    with opened(page, tmp_path / "profile") as browser:
        before = browser.value(drawn)
        (top,) = before.keys() - {"app.py:2", "app.py:3", "lib.py:1"}
        assert before == {top: [0, 1], "app.py:2": [0, 1], "lib.py:1": [0, 0.75], "app.py:3": [0.75, 0.25]}
        browser.click(*browser.value(middle.format("app.py:3")))
        assert browser.value(drawn) == {top: [0, 1], "app.py:2": [0, 1], "lib.py:1": None, "app.py:3": [0, 1]}
        browser.click(*browser.value(middle.format(top)))
        assert browser.value(drawn) == before


def test_widths_of_the_flame_graph_are_shares_of_what_grew() -> None:
    root = tree({
        (("lib.py", 1), ("app.py", 2)): (1, 300.0),
        (("app.py", 3), ("app.py", 2)): (2, 100.0),
        (("app.py", 9),): (1, -50.0),
    })  # fmt: skip
    assert root.size == 400.0
    drawn = {box.name: (round(box.left, 3), round(box.width, 3), box.depth) for box in boxes(root)}
    assert drawn["app.py:2"] == (0.0, 1.0, 1)
    assert drawn["lib.py:1"] == (0.0, 0.75, 2)
    assert drawn["app.py:3"] == (0.75, 0.25, 2)
    assert "app.py:9" not in drawn
    assert render({}, [], connections=None, is_library=lambda _: False).count('class="frame') == 1
