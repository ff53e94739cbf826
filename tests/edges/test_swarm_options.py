"""The swarm's options of Locust's command line: an invalid value is refused before anything runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.swarm.setup import MIN_SECRET, SECRET_VARIABLE

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
WRONG = {
    "--stall-after": ("0", "-1", "soon", "nan", "inf"),
    "--source-addresses": ("localhost", "127.0.0.9-127.0.0.2", "203.0.113.9"),
    "--ca": ("/no/such/file.pem", __file__),
}


CHURN = str(ROOT / "locustfiles" / "churn.py")
# One process parses all values: Locust takes a second or more to start.
PARSE = """
import contextlib, io, json, sys
from locust.argument_parser import get_parser
import harness.swarm.user
found = []
for option in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            get_parser().parse_args([option])
            code = 0
        except SystemExit as error:
            code = error.code
    found.append([code, said.getvalue()])
print(json.dumps(found))
"""


def named(option: str, value: str, said: str) -> None:
    assert f"argument {option}" in said
    assert value in said
    assert "expected" in said
    assert "Traceback" not in said


def test_locust_listens_on_loopback_by_default() -> None:
    code = (
        "from locust.argument_parser import get_parser; import harness.swarm.user;"
        "found = get_parser().parse_args([]); print(found.web_host, found.master_bind_host);"
        "found = get_parser().parse_args(['--web-host=*', '--master-bind-host=*'])\n"
        "print(found.web_host, found.master_bind_host)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT
    )
    assert done.stdout == "127.0.0.1 127.0.0.1\n* *\n", done.stderr


def test_a_bad_value_is_named_with_what_was_expected() -> None:
    asked = [(option, value) for option, values in WRONG.items() for value in values]
    argv = [sys.executable, "-c", PARSE, json.dumps([f"{option}={value}" for option, value in asked])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for (option, value), (code, said) in zip(asked, json.loads(done.stdout), strict=True):
        assert code == 2, (option, value, said)
        named(option, value, said)


BESIDE = pytest.mark.soak(
    reason="a process of Locust for each; the test above has every option, and one ends so below"
)


@pytest.mark.parametrize(
    "option", ["--ca", *(pytest.param(name, marks=BESIDE) for name in WRONG if name != "--ca")]
)
def test_locust_ends_with_code_2_before_anything_runs(option: str) -> None:
    value = WRONG[option][-1]
    where = ["-f", CHURN, "--headless", "--host", "http://127.0.0.1:9", "-t", "1s"]
    argv = [sys.executable, "-m", "locust", *where, f"{option}={value}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    named(option, value, done.stderr)


# As PARSE: one process for all of them.
START = """
import contextlib, io, json, sys
from harness.swarm import worker
found = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            worker.main()
            code = 0
        except SystemExit as error:
            code = error.code
    found.append([code, said.getvalue()])
print(json.dumps(found))
"""


def test_a_worker_without_the_address_of_its_master_names_what_it_expected() -> None:
    asked = (
        [],
        ["localhost"],
        ["localhost:port"],
        ["localhost:70000"],
        ["no.such.host.invalid:5557"],
        ["127.0.0.1:1", "127.0.0.1:2"],
    )
    argv = [sys.executable, "-c", START, json.dumps(asked)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for words, (code, said) in zip(asked, json.loads(done.stdout), strict=True):
        assert code == 2, (words, said)
        assert "MASTER:PORT" in said
        assert not words or words[-1] in said


def test_a_worker_without_the_secret_ends_with_code_2() -> None:
    argv = [sys.executable, "-m", "harness.swarm.worker", "127.0.0.1:1"]
    env = {**os.environ, SECRET_VARIABLE: "short"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT, env=env)
    assert done.returncode == 2
    assert "HARNESS_SWARM_SECRET has 5 characters; expected the secret of the master" in done.stderr


def test_a_worker_that_waits_for_its_master_reports_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: no connection is accepted
        master = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = [sys.executable, "-m", "harness.swarm.worker", master]
        env = {**os.environ, SECRET_VARIABLE: "s" * MIN_SECRET}
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=env) as child:
            try:
                assert child.stderr is not None
                assert (
                    child.stderr.readline()
                    == f"waiting: no master answers at tcp://{master}, or its secret is a different one\n"
                )
            finally:
                child.kill()
