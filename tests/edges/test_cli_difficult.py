"""``harness guard`` with services and mistakes that leave nothing to judge: each has its own message, next step and
exit code, and no process keeps running."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from harness.cli import main
from harness.report.schema import schema
from harness.target.spawn import free_port
from tests.edges.command_line import (
    DEADLINE,
    HARNESS,
    SERVICES,
    URL,
    environment,
    harness_here,
    mentioning,
    unwrapped,
    wait_for,
)

PLAIN = (sys.executable, str(SERVICES / "plain_sse.py"))


def guard_here(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """``harness guard --retention 0 WORDS`` in this process."""
    return harness_here(folder, "guard", "--retention", "0", *words, history="none")


def wait_until_all_exited(folder: Path) -> None:
    wait_for(lambda: not mentioning(folder), "everything that was started has ended")


@pytest.mark.parametrize(
    ("kind", "words", "advice"),
    [
        ("never", "not ready after {timeout} s: http", "next increase --ready-timeout"),
        ("exits", "no database: refusing to start", "next run the command yourself"),
        ("not-found", "answers 404", "next pass --url with the path"),
        ("page", "answers a page (text/html", "--mode request"),
        ("login", "needs a login", "next pass --header"),
        ("closes", "closes the stream at once", "next check its log for why the handler returns"),
        ("redirects", "redirects without end", "next pass the URL that the redirects should lead to"),
        ("garbage", "does not respond in HTTP", "next check that --url names its HTTP port"),
        ("forks", "forked into the background", "--attach-port PORT"),
        ("floods", "its log exceeded 64 MiB and was cut", "answers 404"),
        ("deaf", "it did not exit within 3 s of SIGTERM and was killed", "answers 404"),
    ],
)
def test_a_difficult_service_has_its_own_message_and_leaves_no_process(
    kind: str, words: str, advice: str, tmp_path: Path
) -> None:
    service = (sys.executable, SERVICES / "difficult.py", "{port}", kind, tmp_path)
    for timeout in (1, 20) if kind == "never" else (20,):
        done = guard_here(
            tmp_path,
            *("--url", URL, "--out", tmp_path / f"run{timeout}", "--ready-timeout", f"{timeout}s"),
            *("--json", tmp_path / "v.json", "--", *service),
        )
        if f"I am {kind}" in unwrapped(done.stdout):
            break  # otherwise the guard stopped before it began
    assert done.returncode == 1, done.stdout + done.stderr
    data = json.loads((tmp_path / "v.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(data)
    assert data["outcome"] == "unready"
    assert words.format(timeout=timeout) in unwrapped(done.stdout)
    assert advice in unwrapped(done.stdout)
    last = {"exits": "no database: refusing to start", "floods": "log without end"}.get(kind, f"I am {kind}")
    assert last in unwrapped(done.stdout), "the end of its log is shown"
    assert "\x1b" not in (done.stdout)
    assert "Traceback" not in done.stderr
    wait_until_all_exited(tmp_path)


@pytest.mark.parametrize(
    ("url", "command", "words"),
    [
        (URL, (*PLAIN, "{elsewhere}"), "it listens at 127.0.0.1:{elsewhere} instead"),
        (
            URL,
            (sys.executable, "-m", "http.server", "--bind", "::1", "{port}"),
            "it listens at [::1]:",
        ),
        (URL.replace("http:", "https:"), (*PLAIN, "{port}"), "did not answer the TLS handshake"),
        (URL, ("sh", "-c", "kill -SEGV $$"), "by SIGSEGV, before it was ready"),
        (URL, ("./no-interpreter",), "check its path, its permissions and its first line"),
    ],
    ids=["wrong port", "IPv6 only", "no TLS", "killed", "no interpreter"],
)
def test_a_service_at_another_address_is_reported_with_it(
    url: str, command: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        elsewhere = str(probe.getsockname()[1])
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (tmp_path / "no-interpreter").chmod(0o700)
    started = [word.replace("{elsewhere}", elsewhere) for word in command]
    words = words.replace("{elsewhere}", elsewhere)
    for timeout in ("1s", "20s"):  # on a busy machine the service may not listen yet after a second
        done = guard_here(tmp_path, "--quiet", "--ready-timeout", timeout, "--url", url, "--", *started)
        if words in unwrapped(done.stdout):
            break
    assert done.returncode == 1, done.stdout + done.stderr
    assert words in unwrapped(done.stdout)
    assert "UNREADY" in unwrapped(done.stdout)


@pytest.mark.parametrize("kind", ["dies", "dies-answering"])
def test_a_service_that_exits_at_the_first_reading_has_crashed(kind: str, tmp_path: Path) -> None:
    """Its connections break a moment before its exit can be observed."""
    service = (sys.executable, SERVICES / "difficult.py", "{port}", kind, tmp_path)
    done = guard_here(tmp_path, "--quiet", "--url", URL, "--out", tmp_path / "run", "--", *service)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("CRASHED"), done.stdout
    assert "SIGABRT" in unwrapped(done.stdout)
    wait_until_all_exited(tmp_path)


def test_streams_that_were_refused_after_the_crash_are_not_counted_before_it(tmp_path: Path) -> None:
    """A Go service exited with the first burst, and its verdict said "after 100 streams": 76 were refused."""
    code = """if True:
        import http.server, itertools, os, sys, time
        served = itertools.count(1)
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if next(served) == 10:
                    os._exit(17)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.wfile.write(b"data: x\\n\\n")
                time.sleep(0.05)
        http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
    """
    verdict_file = tmp_path / "verdict.json"
    load = ("--connections", "300", "--concurrency", "5", "--json", verdict_file, "--quiet", "--url", URL)
    done = guard_here(tmp_path, *load, "--", sys.executable, "-c", code, "{port}")
    assert done.stdout.startswith("CRASHED  exit code 17 after "), done.stdout + done.stderr
    (ended,) = json.loads(verdict_file.read_text())["trials"]
    ledgers = [one["ledger"] for one in ended["observations"]]
    refused = sum(ledger["causes"].get("refused", 0) for ledger in ledgers)
    assert refused, ledgers
    assert ended["exit"]["connections"] == sum(ledger["opened"] for ledger in ledgers) - refused


def test_a_service_that_listens_late_is_awaited(tmp_path: Path) -> None:
    """The test lets the service listen only after the guard has checked its port several times."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    late = f"import runpy; open({str(gate)!r}).read(); runpy.run_path({PLAIN[1]!r}, run_name='__main__')"
    service = (sys.executable, "-c", late, "{port}", "page", str(tmp_path))
    with subprocess.Popen(
        [
            *HARNESS,
            "guard",
            "--retention",
            "0",
            "--quiet",
            "--url",
            URL,
            "--out",
            str(tmp_path / "run"),
            "--",
            *service,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    ) as guard:
        opened: list[int] = []

        def service_started() -> bool:
            with contextlib.suppress(OSError):  # ENXIO while it has no reader: fifo(7)
                opened.append(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened) or guard.poll() is not None

        wait_for(service_started, "the service has started")
        began, turns = time.monotonic(), voluntary_waits(guard.pid)
        wait_for(
            lambda: voluntary_waits(guard.pid) >= turns + 20 or guard.poll() is not None, "it was looked for"
        )
        late_by = time.monotonic() - began
        for end in opened:
            os.close(end)
        out, _ = guard.communicate(timeout=DEADLINE)
    assert "answers a page" in out
    (trial,) = json.loads((tmp_path / "run" / "run.json").read_text())["trials"]
    (took,) = [note["data"]["seconds"] for note in trial["notes"] if note["kind"] == "ready"]
    assert took >= late_by - 0.01  # two digits are printed
    wait_until_all_exited(tmp_path)


def voluntary_waits(pid: int) -> int:
    """How many times its main thread has waited; 0 once it has exited (proc_pid_status(5))."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(text.split("nonvoluntary_ctxt_switches")[0].rpartition("voluntary_ctxt_switches:")[2])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--url"),
        (["--url", "nonsense", "--", "true"], 2, "'nonsense': not an absolute URL"),
        (["--url", "127.0.0.1:{port}/e", "--", "true"], 2, "'127.0.0.1:{port}/e': not an absolute URL"),
        (["--url", "http:///e", "--", "true"], 2, "'http:///e': not an absolute URL"),
        (
            ["--url", "ftp://127.0.0.1:1/e", "--", "true"],
            2,
            "--url: scheme 'ftp' in 'ftp://127.0.0.1:1/e'; expected http,",
        ),
        (["--url", "http://127.0.0.1:99999/e", "--", "true"], 2, "Port out of range"),
        (
            ["--url", "http://me:secret@127.0.0.1:99999/e", "--pid", "1"],
            2,
            "--url: 'http://***@127.0.0.1:99999/e'",
        ),
        (["--url", "http+unix://%2F" + "a" * 107 + "/e", "--pid", "1"], 2, "expected at most 107"),
        (["--url", "http://[fe80::1]:1/e", "--pid", "1"], 2, "is link-local"),
        (["--url", "http://127.0.0.1:1/a b", "--pid", "1"], 2, "percent-encode"),
        (["--url", URL, "--ready", "soon", "--", "true"], 2, "--ready 'soon': not an absolute URL"),
        (["--url", URL, "--pprof", "soon", "--", "true"], 2, "--pprof 'soon': not an absolute URL"),
        (["--url", URL, "--nofile", "2000000000", "--", "true"], 2, "above the hard limit"),
        (
            ["--url", "http://127.0.0.1:1/"],
            2,
            "no service given; expected one of -- COMMAND, --pid and --probe-command",
        ),
        (["--url", URL, "--pid", "1"], 2, "{port} needs a command"),
        (["--url", URL, "--max-time", "soon", "--", "true"], 2, "--max-time 'soon': expected a time"),
        (["--url", URL, "--", "no-such-command"], 2, "no-such-command: no such command on PATH"),
        (["--url", URL, "--", "/etc/passwd"], 2, "/etc/passwd: cannot be executed"),
        (["--url", URL, "--", "python app.py"], 2, "not as one quoted string"),
        (["--url", "http://127.0.0.1:1/", "--pid", "999999999"], 2, "999999999: no such process"),
        (["--url", "http://127.0.0.1:1/", "--pid", "1", "--", "true"], 2, "expected one of them"),
        (["--url", "http://127.0.0.1:1/", "--pid", "1", "--attach-port", "1"], 2, "name the service twice"),
        (["--url", "http://127.0.0.1:1/", "--attach-port", "1"], 2, "--attach-port 1: nothing listens there"),
        (["--url", "http://127.0.0.1:1/", "--probe-command", "a 'b"], 2, "No closing quotation"),
        (
            ["--url", URL, "--header", "nonsense", "--", "true"],
            2,
            "--header, number 1: expected 'Name: value'",
        ),
        (
            ["--url", URL, "--body", "@/no/such", "--", "true"],
            2,
            "--body @/no/such: cannot be read: No such file",
        ),
        (["--url", URL, "--swarm", "none.py", "--", "true"], 2, "--swarm none.py: no such file"),
        (["--url", URL, "--keep-alive", "--", "true"], 2, "expected --mode request"),
        (["--url", URL, "--url", "http://127.0.0.1:1/", "--", "true"], 2, "another host or port"),
        (["--url", URL, "--out", "/proc/nowhere", "--", "true"], 4, "/proc/nowhere"),
        (["--url", URL, "--json", "/proc/nowhere/v", "--", "true"], 4, "/proc/nowhere/v"),
        (["--url", URL, "--junit", "/proc/nowhere/j", "--", "true"], 4, "/proc/nowhere/j"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line_before_anything_is_started(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["guard", "--retention", "0", "--quiet", *arguments])
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    assert words in said.err
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert "unexpected" not in said.err
    assert "secret" not in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/no/such/probe", "No such file or directory"),
        ("sh -c 'echo no route to host >&2; exit 7'", "no route to host"),
        ("echo hello", "printed 'hello'; expected a JSON line"),
    ],
)
def test_a_probe_command_that_gives_nothing_is_infrastructure(
    command: str, words: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        url = f"http://127.0.0.1:{service.getsockname()[1]}/"
        done = guard_here(tmp_path, "--quiet", "--url", url, "--probe-command", command)
    assert done.returncode == 4, done.stdout + done.stderr
    assert words in unwrapped(done.stdout)


def test_a_process_that_does_not_listen_there_is_named(tmp_path: Path) -> None:
    options = (
        "--quiet",
        "--ready-timeout",
        "300ms",
        "--url",
        "http://127.0.0.1:1/",
        "--pid",
        str(os.getpid()),
    )
    done = guard_here(tmp_path, *options)
    assert done.returncode == 1
    assert "nothing listens there" in unwrapped(done.stdout)
    assert "next pass the pid and the --url of the same service" in unwrapped(done.stdout)
    assert "log" not in done.stdout, "its log is not ours"


def test_a_taken_port_is_infrastructure_and_never_the_services_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other_listener:
        port = other_listener.getsockname()[1]
        done = guard_here(tmp_path, "--url", f"http://127.0.0.1:{port}/", "--", "sleep", "60")
    assert done.returncode == 4
    assert f"port {port} is taken" in done.stderr


def test_a_service_that_finds_its_own_port_taken_is_infrastructure_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other_listener:
        command = (sys.executable, SERVICES / "plain_sse.py", other_listener.getsockname()[1])
        done = guard_here(tmp_path, "--quiet", "--url", URL, "--", *command)
    assert done.returncode == 4, done.stdout
    assert "a port that it needs is taken: its log says OSError: [Errno 98]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_chosen_port_is_none_that_an_outgoing_connection_may_get() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    chosen = {free_port() for _ in range(50)}
    assert len(chosen) > 40, "and no two guards choose the same"
    assert all(not first <= port <= last for port in chosen) or (first, last) == (1024, 65535)
