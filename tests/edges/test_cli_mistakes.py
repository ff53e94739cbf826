"""Ordinary mistakes: one clear line, the documented exit code, and nothing that was measured is lost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import cli, report_end
from harness.cli.streams import safe_line
from harness.config import line_numbers, loads
from harness.core.errors import ConfigError, StoreError
from harness.core.judge import signature
from harness.core.units import did_you_mean, duration, per_unit, rate, size
from harness.process.read import read_bounded
from harness.runtime.snapshot import Snapshot
from harness.store.run_dir import RunDirectory
from harness.store.write import check_output
from tests.edges.command_line import HARNESS, SERVICES, SMALL, URL, environment, harness, harness_here

ROOT = Path(__file__).parents[2]
LONG = "x" * 100_000
GUARD = ("guard", "--quiet", "--url", "http://127.0.0.1:{port}/")


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("harness: ")
    assert "defect" not in done.stderr
    return done.stderr


READERS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "--body": lambda file: (*GUARD, "--body", f"@{file}", "--", "true"),
    "--header": lambda file: (*GUARD, "--header", f"@{file}", "--", "true"),
    "--budget": lambda file: (*GUARD, "--budget", file, "--", "true"),
    "--ca": lambda file: (*GUARD, "--ca", file, "--", "true"),
    "--swarm": lambda file: (*GUARD, "--swarm", file, "--", "true"),
    "budget check": lambda file: ("budget", "check", file),
    "memory diff": lambda file: ("memory", "diff", file, file),
}
FILES = {
    "/dev/zero": ("more than", "not a regular file"),
    "folder": ("it is a directory", "not a regular file"),
    "pipe": ("sent nothing for", "not a regular file"),
    "huge": ("more than", "no such file"),
    "absent": ("No such file", "no such file"),
}


@pytest.mark.parametrize(
    ("option", "file"),
    # A locustfile is read by Locust, in its own process.
    [(option, file) for option in READERS for file in FILES if (option, file) != ("--swarm", "huge")],
)
def test_every_option_that_reads_a_file_ends_with_an_error_if_it_is_not_a_regular_file(
    option: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: the error is what the command line prints (see below), and forty starts would take a minute."""
    monkeypatch.setattr("harness.process.read.read_bounded.__kwdefaults__", {"silent": 0.3})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(8 << 30)  # sparse: it takes no room
    began = time.monotonic()
    done = CliRunner().invoke(cli, READERS[option](file))
    assert isinstance(done.exception, ConfigError), done.output
    assert any(says in str(done.exception) for says in FILES[file]), done.exception
    assert file in str(done.exception)
    assert time.monotonic() - began < 20


SAMPLE = ROOT / "reports" / "sample"
WRITERS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "guard --json": lambda file: (*GUARD, "--json", file, "--", "true"),
    "guard --junit": lambda file: (*GUARD, "--junit", file, "--", "true"),
    "soak --json": lambda file: ("soak", "--duration", "9s", *GUARD[1:], "--json", file, "--", "true"),
    "judge --json": lambda file: ("judge", str(SAMPLE), "--json", file),
    "reproduce --json": lambda file: ("reproduce", "--profile", "fixed", "--json", file),
    "reproduce --all --json": lambda file: ("reproduce", "--all", "--json", file),
    "trend --markdown": lambda file: ("trend", "--markdown", file),
    "history export --out": lambda file: ("history", "export", "--out", file),
}
UNWRITABLE = {
    "folder": "it is a directory; expected a file",
    "loop": "loop",
    "absent/file": "no such directory; expected a directory that can be written",
    "text/file": "no such directory; expected a directory that can be written",
    "x" * 300: "File name too long; expected a file",
}


@pytest.mark.parametrize("place", UNWRITABLE)
@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_that_cannot_be_written_is_refused_before_anything_starts(
    writer: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    done = CliRunner().invoke(cli, WRITERS[writer](place))
    assert isinstance(done.exception, StoreError), done.output
    assert str(done.exception).startswith(f"{writer.split()[-1]} {place}: ")
    assert UNWRITABLE[place] in str(done.exception)
    assert not (tmp_path / "reports").exists()


def test_an_output_may_be_a_device_in_a_folder_that_is_not_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As /dev is for all but root."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "/dev" and real(path, mode))
    for stream in ("/dev/stdout", "/dev/null", "/dev/fd/1"):
        check_output("--json", Path(stream))
    with pytest.raises(StoreError, match="/dev: not writable"):
        check_output("--json", Path("/dev/new"))


NAMED = "n" * 300
TOO_LONG: tuple[tuple[str, ...], ...] = (
    ("judge", NAMED),
    ("judge", str(SAMPLE), "--budget", NAMED),
    ("report", NAMED),
    ("explain", NAMED),
    ("compare", NAMED, str(SAMPLE)),
    ("baseline", "accept", NAMED),
    ("baseline", "accept", str(SAMPLE), "--budget", NAMED),
    ("history", "add", NAMED),
    ("init", NAMED),
    ("budget", "check", NAMED),
    ("memory", "diff", NAMED, NAMED),
    ("memory", "show", NAMED, NAMED),
    ("reproduce", "--all", "--resume", NAMED),
    (*GUARD, "--swarm", NAMED, "--", "true"),
    (*GUARD, "--ca", NAMED, "--", "true"),
    (*GUARD, "--budget", NAMED, "--", "true"),
)


@pytest.mark.parametrize("words", TOO_LONG, ids=lambda words: " ".join(words)[:40])
def test_a_name_that_no_file_can_have_is_a_usage_error_in_one_line(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    error = CliRunner().invoke(cli, words, standalone_mode=False).exception
    assert error is not None
    capsys.readouterr()
    assert report_end(error) == 2, error
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "defect" not in printed


def test_a_pipe_with_a_slow_writer_is_read_to_its_end(tmp_path: Path) -> None:
    """As the shell's <(…) gives one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as out:
            for part in (b"one ", b"two"):
                time.sleep(0.1)
                out.write(part)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_bounded(pipe, 100, option="--body", expected="a file") == b"one two"
    writer.join()


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"schema_version": 1, "trials": ' + "[" * 100_000, '{"schema_version": 1', "\udcff\udcfe{}", "NaN",
     "[]",
     '{"schema_version": 1e999}', '{"schema_version": ' + "9" * 5000 + "}", '{"schema_version": 1, "trials": 3}', ""],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["judge", "report", "accept"])
def test_a_damaged_record_is_named(verb: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    words = ["baseline", "accept", str(tmp_path)] if verb == "accept" else [verb, str(tmp_path)]
    done = CliRunner().invoke(cli, words)
    assert isinstance(done.exception, ConfigError | StoreError), done.output
    assert str(tmp_path / "run.json") in str(done.exception)


VALUES = (None, "x", -1, 1e308, float("nan"), {}, [[[]]], 10**400, "\ud800")


@pytest.mark.parametrize(
    "at", ["levels", "ledger", "spec", "exit", "target", "verdict", "budget", "extra", "ended"]
)
def test_figures_that_no_run_produces_are_one_clear_error(at: str, tmp_path: Path) -> None:
    record = json.loads((ROOT / "reports" / "sample" / "run.json").read_text())
    (trial, *_) = record["trials"]
    record["trials"] = [trial]
    holder = trial if at in trial else trial["observations"][-1]
    kept = holder[at]
    places: list[tuple[dict[str, object], str]] = [(holder, at)]
    places += [(kept, name) for name in list(kept)[:3]] if isinstance(kept, dict) else []
    for parent, name in places:
        before = parent[name]
        for value in VALUES:
            parent[name] = value
            (tmp_path / "run.json").write_text(json.dumps(record, default=str))
            for verb in ("judge", "report")[: 2 if parent is holder else 1]:  # a page takes a while
                done = CliRunner().invoke(cli, [verb, str(tmp_path)])
                assert done.exception is None or isinstance(
                    done.exception, ConfigError | StoreError | SystemExit
                ), (verb, name, value, done.exception)
        parent[name] = before


@pytest.mark.parametrize(
    "line_",
    [b"[" * 100_000, b'{"at": NaN}', b'{"trial":"a","at": 1e999}', b"\xff\xfe", b'{"trial":"a","at": "x"}', b"3",
     b'{"trial":"a","at":2,"fds":"x"}', b'{"trial":"a","at":2,"rss":' + b"9" * 400 + b"}",
     b'{"trial":"a","at":2,"fds":[]}',
     b"y" * (17 << 20), b'{"trial":"a","at":2,"cpu":NaN}', b'{"trial":"a","at":tru'],
)  # fmt: skip
def test_a_damaged_sample_is_a_gap_and_its_neighbours_stay(line_: bytes, tmp_path: Path) -> None:
    good = b'{"trial":"a","at":%d,"fds":4}'
    (tmp_path / "samples.jsonl").write_bytes(b"\n".join((good % 1, line_, good % 3)) + b"\n")
    seen = list(RunDirectory(tmp_path, "x").read_samples("a"))
    assert [one.fds for one in seen if one.gap is None] == [4, 4]
    assert [one.gap for one in seen if one.gap] == ["line 2 of samples.jsonl cannot be read"]


def test_samples_that_are_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "samples.jsonl")
    with pytest.raises(StoreError, match="not a regular file"):
        list(RunDirectory(tmp_path, "x").read_samples("a"))


SLOW: tuple[Callable[[], object], ...] = (
    lambda: duration("--dwell", "1" + " " * 100_000 + "!"),
    lambda: duration("--dwell", "9" * 100_000),
    lambda: size("--x", " " * 100_000),
    lambda: rate("--x", "1/" + "9" * 100_000),
    lambda: per_unit("fds", "1/" + "9" * 100_000 + " connections"),
    lambda: did_you_mean(LONG, [LONG + "y", "fds"]),
    lambda: loads(Path("b.toml"), f'[budget]\n"fds/{LONG}" = "1"\n'),
    lambda: loads(Path("b.toml"), "[budget]\nfds = " + "[" * 100_000),
    lambda: loads(Path("b.toml"), "x = " + "9" * 10_000),
    lambda: line_numbers("a = 1\n" + "=" * 100_000 + '\n"' + "=" * 100_000 + '" = 1\n'),
    lambda: signature.find(["Assertion failed: " + "(/" * 500_000, "zsock_destroy_checked" * 50_000]),
    lambda: safe_line(LONG + "token=" * 20_000),
    lambda: Snapshot.load(Path("/dev/null")),
)


@pytest.mark.parametrize("work", SLOW, ids=map(str, range(len(SLOW))))
def test_no_text_of_100000_characters_takes_a_slow_path(work: Callable[[], object]) -> None:
    """A quadratic path takes minutes, a linear one milliseconds."""
    began = time.process_time()
    with contextlib.suppress(ConfigError):
        work()
    assert time.process_time() - began < 10.0


def test_a_long_argument_is_named_by_its_ends_and_the_cause_stays_readable(tmp_path: Path) -> None:
    said = one_line(harness_here(tmp_path, "budget", "check", LONG), 2)
    assert said.endswith("cannot be read: File name too long; expected a budget file\n")
    assert len(said) < 1200


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 4, "out of memory"),
        (RecursionError("deep"), 4, "unexpected RecursionError"),
        (OSError(28, "No space left on device", "/x"), 4, "cannot write /x: No space left on device"),
        (KeyboardInterrupt(), 3, "interrupted"),
        (StoreError("a\n::error::b ##[c]"), 4, "harness: a ::error::b ## [c]"),
    ],
)
def test_every_exception_that_ends_a_command_prints_one_line(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_end(error) == code
    printed = capsys.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1


def test_a_working_directory_that_was_removed_is_named(tmp_path: Path) -> None:
    program = (
        "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
        "from harness.cli import main; main(sys.argv[2:])"
    )
    for words in (("judge", "x"), (*GUARD, "--", "true"), ("init",), ("budget", "check")):
        gone = tmp_path / "gone"
        gone.mkdir()
        env = environment(PYTHONPATH=str(ROOT))
        done = subprocess.run(
            [sys.executable, "-c", program, str(gone), *words],
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
        )
        assert "the working directory was removed" in one_line(done, 4)


MEASURED = ("verdict.json", "run.json", "report.html", "junit.xml")


BETWEEN = pytest.mark.soak(reason="a second of a core for a case between the others")


@pytest.mark.parametrize(
    "closed",
    [
        pytest.param(">&-", marks=BETWEEN), ">&- 2>&- <&-", ">/dev/full", "2>/dev/full",
        pytest.param(">/dev/full 2>/dev/full", marks=BETWEEN),
    ],
)  # fmt: skip
def test_closed_and_full_streams_do_not_change_the_result(closed: str, tmp_path: Path) -> None:
    service = (sys.executable, SERVICES / "difficult.py", "{port}", "login")
    options = ("--json", tmp_path / "out.json", "--junit", tmp_path / "out.xml", "--out", tmp_path / "run")
    words = [*HARNESS, "guard", *SMALL, *options, "--url", URL, "--", *service]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *map(str, words)],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=60,
    )  # fmt: skip
    full = ">/dev/full" in closed.replace("2>/dev/full", "")
    assert done.returncode == (4 if full else 1), done.stderr
    assert "defect" not in done.stderr
    assert "Exception ignored" not in done.stderr
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["outcome"], data["exit_code"]) == ("unready", 1)
    assert "<failure" in (tmp_path / "out.xml").read_text()
    assert all((tmp_path / "run" / name).stat().st_size > 500 for name in MEASURED)
    if full and "2>" not in closed:
        assert "cannot write: No space left on device" in done.stderr


def test_a_loopback_interface_that_is_down_is_infrastructure(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", *HARNESS, "guard", "--quiet",
         "--out", tmp_path / "run", "--url", URL, "--", sys.executable,
         SERVICES / "plain_sse.py", "{port}"],
        capture_output=True, text=True, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), timeout=60,
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert " ".join(done.stdout.split()).startswith(
        "INFRASTRUCTURE the loopback interface does not work: 127.0.0.1: "
    )
    assert "ip link set lo up" in done.stdout


def test_thirty_thousand_arguments_reach_the_service(tmp_path: Path) -> None:
    more = ["an-argument"] * 30_000
    service = (sys.executable, SERVICES / "difficult.py", "{port}", "login", *more)
    done = harness("guard", "--quiet", "--out", tmp_path / "run", "--url", URL, "--", *service, cwd=tmp_path)
    assert done.returncode == 1, done.stderr[:500]
    assert "it needs a login" in done.stdout
    command = json.loads((tmp_path / "run" / "run.json").read_text())["trials"][0]["target"]["command"]
    assert len(command) == 30_004


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gaurd",), "did you mean 'guard'?"),
        (("history", "ad"), "id you mean 'add'?"),
        (("budget", "chek"), "id you mean 'check'?"),
        (("reproduce", "--profile", "fixd"), "did you mean 'fixed'?"),
        (("judge", "nowhere"), "no run at nowhere: expected a folder with run.json"),
        (("explain", "nowhere"), "no run at nowhere: expected a folder with run.json"),
        (("report", "nowhere"), "no run at nowhere: expected a folder with run.json"),
        (
            ("explain", str(ROOT / "reports" / "sample"), "--metric", "taks"),
            "--metric 'taks': not measured in this run",
        ),
        (("guard", "--url", "ws://127.0.0.1:1/", "--pid", "1"), "WebSockets are not supported"),
        (
            ("guard", "--url", "http://127.0.0.1:1/", "--pid", "1", "--max-event", "2048 MiB"),
            "--max-event 2048 MiB: expected a size from 1 byte to 1024 MiB, such as 4 MiB",
        ),
        (
            ("guard", "--url", "http://127.0.0.1:1/", "--pid", "1", "--max-event", "4x"),
            "--max-event '4x': expected a size such as 1024, 64 KiB or 2 MB",
        ),
        (
            ("guard", "--url", "wss://127.0.0.1:1/", "--pid", "1"),
            "expected http, https, http+unix or https+unix",
        ),
    ],
)
def test_unknown_names_get_the_nearest_name_and_exit_2(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = harness_here(tmp_path, *words)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def test_explain_prints_the_reasoning_of_every_trial() -> None:
    done = harness_here(ROOT, "explain", ROOT / "reports" / "sample", "--metric", "fds/eventfd")
    assert done.returncode == 0, done.stderr
    assert "fds/eventfd: leaking" in done.stdout
    assert "explains 100 % (chosen)" in done.stdout
    assert "  rule      " in done.stdout
