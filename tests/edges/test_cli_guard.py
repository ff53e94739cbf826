"""``harness guard`` from outside: formats, files, budgets, services that run already."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

from harness.process.child import Child
from harness.report.schema import schema
from harness.target.ready import wait_ready
from harness.target.spawn import free_port
from tests.edges.command_line import (
    SERVICES,
    SMALL,
    TIMEOUT,
    URL,
    environment,
    harness,
    harness_here,
    mentioning,
    unwrapped,
    wait_for,
)
from tests.short_start import WITHOUT

PLAIN = str(SERVICES / "plain_sse.py")


def guard(tmp_path: Path, kind: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Guard a difficult service."""
    service = ("--", sys.executable, SERVICES / "difficult.py", "{port}", kind, tmp_path)
    return harness(
        "guard",
        "--retention",
        "0",
        "--url",
        URL,
        "--out",
        tmp_path / "run",
        *options,
        *service,
        cwd=tmp_path,
        env=more,
    )


def test_a_service_that_ignores_sigterm_is_killed_and_reported_with_json_alone_on_stdout(
    tmp_path: Path,
) -> None:
    """The service streams only to the given method and body, and only after its readiness page was requested."""
    (tmp_path / "body").write_bytes(b"hello")
    asked = [
        "--method",
        "POST",
        "--body",
        f"@{tmp_path / 'body'}",
        "--ready",
        "http://127.0.0.1:{port}/ready",
    ]
    output = ["--format", "json", "--junit", str(tmp_path / "j.xml")]
    done = guard(tmp_path, "stubborn", *SMALL, "--max-time", "90s", *asked, *output)
    data = json.loads(done.stdout)
    jsonschema.Draft202012Validator(schema()).validate(data)
    assert data["outcome"] == "bounded", data["explanation"]
    assert any("of SIGTERM and was killed" in note["text"] for note in data["trials"][0]["notes"])
    assert "<testsuite" in (tmp_path / "j.xml").read_text()
    assert " streams  " in done.stderr, "progress goes to stderr"
    wait_for(lambda: not mentioning(tmp_path), "nothing is left")


def test_on_github_annotations_and_the_step_summary_appear_by_themselves(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    done = guard(
        tmp_path, "login", "--quiet", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary), FORCE_COLOR="1"
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert line.startswith("::error title=harness%3A guard%3A unready::UNREADY")
    assert "needs a login" in summary.read_text()
    assert "\x1b" not in done.stdout + done.stderr, "colour only on a terminal"


def test_budgets_are_found_in_parent_folders_and_mistakes_in_them_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "budgets.toml").write_text('[budget]\nfdss = "0/connection"\n')
    done = guard(tmp_path, "login", "--quiet")
    assert done.returncode == 2
    assert "budgets.toml, line 2" in done.stderr
    assert "did you mean 'fds'" in done.stderr
    check = harness_here(tmp_path, "budget", "check")
    assert check.returncode == 2
    assert "line 2" in check.stderr


@pytest.mark.usefixtures("own_lock")
def test_init_writes_what_budget_check_and_pytest_accept_and_overwrites_nothing(tmp_path: Path) -> None:
    assert harness_here(tmp_path, "init").returncode == 0
    assert harness_here(tmp_path, "budget", "check").returncode == 0
    ours = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_leaks.py"]

    def outcome() -> str:
        env = environment(PYTEST_ADDOPTS=WITHOUT)
        return subprocess.run(
            ours, capture_output=True, text=True, cwd=tmp_path, timeout=TIMEOUT, env=env
        ).stdout

    assert "can't open file" in outcome(), "it fails by what is missing until the service is there"
    serve = f"import runpy, sys; sys.argv = ['x', sys.argv[2], 'page']; runpy.run_path({PLAIN!r}, run_name='__main__')"
    (tmp_path / "app.py").write_text(serve)
    assert "answers a page (text/html" in outcome(), "and then by what the service answers"
    workflow = (tmp_path / ".github" / "workflows" / "leaks.yml").read_text()
    assert "\t" not in workflow
    for line in re.findall(r"- run: (harness .*|pytest .*)", workflow):
        assert subprocess.run(
            [sys.executable, "-m", *re.sub("^harness", "harness.cli", line).split(), "--help"],
            capture_output=True, timeout=TIMEOUT, check=True,
        )  # fmt: skip
    again = harness_here(tmp_path, "init")
    assert again.returncode == 2
    assert "exists already" in again.stderr


LOCUSTFILE = """
from locust import HttpUser, constant, task

class Visitor(HttpUser):
    wait_time = constant(0.01)

    @task
    def ask(self):
        self.client.get("/x")
"""


@contextmanager
def running(tmp_path: Path, *words: str) -> Iterator[int]:
    """A service that the guard did not start; yields its port."""
    port = free_port()
    with Child.spawn(
        [sys.executable, *words[:1], str(port), *words[1:]], log=tmp_path / "own.log", name="own"
    ) as service:
        wait_ready(f"http://127.0.0.1:{port}", service, timeout=20)
        yield port
        assert service.alive, "a service that runs already is never stopped"


@pytest.mark.parametrize("how", ["keep-alive", "swarm"])
def test_kept_alive_requests_and_own_locust_users_find_a_leak_in_a_service_that_runs_already(
    how: str, tmp_path: Path
) -> None:
    (tmp_path / "users.py").write_text(LOCUSTFILE)
    options = {
        "keep-alive": [
            *("--mode", "request", "--keep-alive", "--events", "4"),
            *("--processes", "2", "--source-addresses", "127.0.0.2-127.0.0.9"),
        ],
        "swarm": ["--swarm", str(tmp_path / "users.py")],
    }[how]
    output = ("--max-time", "90s", "--format", "json", "--quiet", "--out", tmp_path / "run")
    with running(tmp_path, str(SERVICES / "plain_http.py"), "leak") as port:
        at = ["--url", f"http://127.0.0.1:{port}/x", "--attach-port", str(port)]
        if how == "keep-alive":
            at += ["--url", f"http://127.0.0.1:{port}/y"]
        done = harness("guard", "--retention", "0", *SMALL, *options, *output, *at, cwd=tmp_path)
    data = json.loads(done.stdout)
    assert data["outcome"] == "leaking", data["explanation"]
    (eventfd,) = [one for one in data["findings"] if one["kind"] == "eventfd"]
    assert 0.8 <= eventfd["rate"]["value"] <= 1.1, "one for each connection, not for each request"
    (trial,) = data["trials"]
    ledger = trial["observations"][0]["ledger"]
    if how == "keep-alive":
        assert ledger["events"] > 1.5 * ledger["completed"]
        assert set(ledger["by_path"]) == {"/x", "/y"}, "each URL has its share"


IDLE_USERS = {
    "their own bug": ("raise ValueError('mine')", "ValueError: mine"),
    "nothing": ("pass", "no request finished and was reported"),
}


@pytest.mark.parametrize(("does", "words"), IDLE_USERS.values(), ids=IDLE_USERS)
def test_own_users_that_never_reach_the_service_are_no_pass(does: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text(LOCUSTFILE.replace('self.client.get("/x")', does))
    options = ("--swarm", tmp_path / "users.py", "--max-time", "6s", "--quiet", "--url", URL)
    done = harness(
        "guard", "--retention", "0", *SMALL, *options, "--", sys.executable, PLAIN, "{port}", cwd=tmp_path
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert words in unwrapped(done.stdout)


def test_requests_that_end_a_wait_are_read_once_their_own_sockets_are_closed(tmp_path: Path) -> None:
    """A reading of the idle service is taken as it is, to see a release while it falls. One right after clients would
    count their sockets, and hide what the requests released."""
    service = (sys.executable, SERVICES / "asyncio_service.py", "{port}", "eventfd@connection")
    words = (
        "--retention",
        "3s",
        "--hold",
        "0",
        "--connections",
        "100",
        "--concurrency",
        "20",
        "--max-time",
        "60s",
        "--runtime",
        "none",
    )
    done = harness_here(
        tmp_path, "guard", *words, "--url", URL, "--out", "run", "--", *service, history="none"
    )
    assert (done.returncode, done.stdout.split()[0]) == (1, "LEAKING"), done.stdout + done.stderr
    seen = json.loads((tmp_path / "run" / "run.json").read_text())["trials"][0]["observations"]
    waits = [one for one in seen if one["spec"]["phase"] == "retention"]
    took = {bool(one["spec"]["connections"]): one["ended"] - one["load_ended"] for one in waits}
    assert took[True] > 3 * took[False], "settled, and not read at once"
