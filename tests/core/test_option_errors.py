"""An error names an option as its caller wrote it: ``guard`` in a test says ``dwell=0``, and a shell ``--dwell 0``."""

from __future__ import annotations

import ast
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.core.errors import ConfigError, OptionError
from harness.plugin.guarding import Guard, one_guard_at_a_time

ROOT = Path(__file__).parents[2]
FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Parsing every module that has a flag somewhere takes a quarter of a second; seven have one near an error.
FLAG_NEAR_ERROR = re.compile(r"Error\((?:[^\n]*\n){0,12}?[^\n]*(?<![\w-])--[a-z]")
COMMAND = re.compile(r"`harness [^`]*`")  # a whole command to run is not a name of an option
# These define command lines of their own, or are imported by a program that does.
COMMAND_LINES = (
    "harness/cli/", "harness/reference/", "harness/runtime/agent/", "harness/pytest_plugin.py",
    "harness/probe/print_readings.py",
    "harness/swarm/options.py", "harness/swarm/publish.py", "harness/swarm/web.py", "harness/swarm/worker.py",
)  # fmt: skip


def flags_in_errors(source: str) -> Iterator[str]:
    """The flags in the texts of errors. ``advice=`` is left out: it is the next step on a terminal."""
    if not FLAG_NEAR_ERROR.search(source):
        return
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith("Error"):
            continue
        for argument in node.args:
            for part in ast.walk(argument):
                if (
                    isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and FLAG.search(COMMAND.sub("", part.value))
                ):
                    yield f"line {node.lineno}: {part.value}"


def test_no_error_of_a_library_module_mentions_a_flag() -> None:
    found = [
        f"{path.relative_to(ROOT)}, {text}"
        for path in sorted((ROOT / "harness").rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(COMMAND_LINES)
        for text in flags_in_errors(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        ('raise ConfigError(f"--dwell {x}: expected more")', True),
        ('return StoreError("full; give another --out DIR")', True),
        ('raise OptionError("dwell", x, "expected `hold` beside it")', False),
        ('raise TargetError("not ready", advice="give --ready URL")', False),
    ],
)
def test_a_flag_in_an_error_is_seen(planted: str, seen: bool) -> None:
    assert bool(list(flags_in_errors(planted))) is seen


def test_an_error_names_its_option_and_the_others_that_it_mentions() -> None:
    error = OptionError("keep_alive", True, "expected `mode` request as well, not `a b`")
    assert str(error) == "keep_alive=True: expected mode request as well, not `a b`"
    assert error.spelled(lambda name, value: f"<{name}:{value}>") == (
        "<keep_alive:True>: expected <mode:None> request as well, not `a b`"
    )
    assert str(OptionError("out", Path("there"), "taken")) == "out='there': taken"


URL = "http://127.0.0.1:{port}/"
WRONG = [
    ({"dwell": 0.0}, ["--dwell", "90000s"], "dwell=0.0: expected a time from 0.001s", "--dwell 90000s: expected"),
    ({"hold": "25h"}, ["--hold", "25h"], "hold=90000.0: expected a time", "--hold 25h: expected a time from 0s to 24h"),
    ({"max_event": "2 GB"}, ["--max-event", "2 GB"], "max_event=2000000000: expected a size", "--max-event 2 GB: "),
    ({"keep_alive": True}, ["--keep-alive"], "expected mode request as well", "--keep-alive: streams cannot share"),
    ({"keep_alive": True}, ["--keep-alive"], "keep_alive=True: streams", "expected --mode request as well"),
    ({"expect": "teapot"}, ["--expect", "teapot"], "expect='teapot': expected a", "--expect 'teapot': expected a"),
    ({"locustfile": "no.py"}, ["--swarm", "no.py"], "locustfile='no.py': no such file", "--swarm no.py: no such file"),
    (
        {"broker_faults": ["silence"]}, ["--broker-fault", "silence"],
        "broker_faults='silence': there is no broker; expected with_broker",
        "--broker-fault 'silence': there is no broker; expected --with-broker",
    ),
    ({"processes": 65}, ["--processes", "65"], "processes=65: expected at most", "--processes 65: expected at most 64"),
    ({"runtime": "jvm", "probe_command": "x"}, ["--runtime", "jvm", "--probe-command", "x"],
     "runtime='jvm': cannot be used with probe_command", "--runtime 'jvm': cannot be used with --probe-command"),
]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("arguments", "words", "python", "shell"), WRONG)
def test_the_caller_reads_the_name_that_it_wrote(
    arguments: dict[str, object],
    words: list[str],
    python: str,
    shell: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, although the guard of another test runs."""
    (tmp_path / "lock").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "lock"))
    guard = Guard(name="x", where="test_x", root=tmp_path, out=tmp_path / "out")
    with one_guard_at_a_time(), pytest.raises(ConfigError) as error:
        guard(url=URL, command=[sys.executable], **arguments)
    assert python in str(error.value)
    assert "--" not in str(error.value)
    with pytest.raises(SystemExit) as ended:
        main(["guard", "--out", str(tmp_path / "out"), *words, "--url", URL, "--", sys.executable])
    assert ended.value.code == 2
    assert shell in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
