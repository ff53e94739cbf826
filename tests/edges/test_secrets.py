"""Planted secrets do not appear in what a run writes or prints, nor in command lines and environments of processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import psutil
import pytest

from harness.core.quote import json_text
from tests.edges.command_line import HARNESS, SERVICES, TIMEOUT, environment, harness_here
from tests.history.webhook_server import receiver

SECRETS = {
    "header file": "FileTok3n.a-b_c",
    "header variable": "Env-Val9e/x+y=",
    "header": "C00kie-sid",
    "body file": "Pin 4/711 \"q\"",
    "user info": "Us3r:Pa55",
    "query": "Qu3ry-t0k",
    "signature": "S1gnature==",
    "option": "Opt10n-key",
    "assigned option": "Pa55w0rd!x",
    "variable": "V4riable-s",
    "pattern": "zz-4711-zz",
}  # fmt: skip
HIDDEN = ("header file", "header variable", "body file")  # from ps as well: they came from elsewhere
BODY = {"name": "someone", "note": SECRETS["body file"]}


def forms(secret: str) -> set[str]:
    """A secret as texts and files may spell it."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        *secret.split(":" if ":" in secret else None),
    }


def found_in(text: str, names: tuple[str, ...] = tuple(SECRETS)) -> list[str]:
    """Names of the secrets that a text holds."""
    parts = {name: {form for form in forms(SECRETS[name]) if len(form) > 3} for name in names}
    return [name for name, spelled in parts.items() if any(form in text for form in spelled)]


class Ps:
    """What `ps` shows of a run meanwhile: command lines, and environments of all but the service."""

    def __init__(self, pid: int) -> None:
        self.pid, self.seen, self.looks = pid, set[str](), 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            with contextlib.suppress(psutil.Error, OSError):
                self.look()

    def look(self) -> None:
        """Every process of the run once."""
        run = psutil.Process(self.pid)
        for process in (run, *run.children(recursive=True)):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
                for name in found_in(words, HIDDEN):
                    self.seen.add(f"{name} in the command line {words[:200]!r}")
                if "telltale.py" in words and "harness.cli" not in words:
                    continue
                block = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
                if process.pid == self.pid and self.looks < 1:
                    continue  # its shell gave it the variable; it has not read it yet
                for name in found_in(block, HIDDEN):
                    self.seen.add(f"{name} in the environment of {words[:200]!r}")
        # The swarm is there: the harness has read its options long ago.
        self.looks += any("swarm" in " ".join(child.cmdline()) for child in run.children(recursive=True))

    def __enter__(self) -> Ps:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, Ps]:
    """One run with every secret planted: its folder, what it printed, what `ps` showed."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "headers").write_text(f"# ours\nAuthorization: Bearer {SECRETS['header file']}\n")
    (folder / "body").write_text(json.dumps(BODY))
    query = f"token={SECRETS['query']}&sig={SECRETS['signature']}&n=1"
    words = [
        "guard", "--url", f"http://127.0.0.1:{{port}}/e?{query}",
        "--header", f"@{folder / 'headers'}", "--header-env", "PLANTED",
        "--header", f"Cookie: sid={SECRETS['header']}; theme=dark",
        "--method", "POST", "--body", f"@{folder / 'body'}", "--redact", r"zz-\d+-zz",
        "--connections", "40", "--concurrency", "20", "--dwell", "200ms", "--settle", "150ms", "--max-time", "30s",
        "--out", folder / "run", "--json", folder / "out.json", "--junit", folder / "out.xml", "--format", "github",
        "--history", folder / "history.db",
        "--", sys.executable, SERVICES / "telltale.py", "{port}", "90", "--api-key", SECRETS["option"],
        f"--password={SECRETS['assigned option']}", f"SERVICE_TOKEN={SECRETS['variable']}",
        f"--upstream=redis://{SECRETS['user info']}@db.example/0", "--name", "harmless-name",
    ]  # fmt: skip
    env = environment(
        PLANTED=f"X-Custom: {SECRETS['header variable']}",
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(folder / "step.md"),
        HARNESS_NOTIFY="",
    )
    with (
        receiver(200) as hook,
        subprocess.Popen(
            [*HARNESS, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**env, "HARNESS_NOTIFY": hook.url},
        ) as process,
        Ps(process.pid) as ps,
    ):
        out, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1, out + said
    (folder / "notification.json").write_text(json.dumps(hook.messages))
    return folder, out, said, ps


def test_no_secret_is_in_anything_that_a_run_writes_or_prints(run: tuple[Path, str, str, Ps]) -> None:
    folder, out, said, _ = run
    log = (folder / "run" / "guard" / "target.log").read_text(errors="replace")
    assert set(found_in(log)) == set(SECRETS), "the service had them all, and logged them"
    assert "***" in out
    assert found_in(out) == []
    assert found_in(said) == []
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("target.log", "headers", "body")
    ]
    names = {path.name for path in files}
    wanted = {
        "report.html",
        "run.json",
        "verdict.json",
        "samples.jsonl",
        "junit.xml",
        "summary.md",
        "out.json",
        "out.xml",
        "step.md",
        "history.db",
        "notification.json",
    }
    assert wanted <= names, wanted - names
    assert {
        str(path.relative_to(folder)): held
        for path in files
        if (held := found_in(path.read_text(errors="replace")))
    } == {}
    record = json.loads((folder / "run" / "run.json").read_text())
    (trial,) = record["trials"]
    assert trial["target"]["command"][-2:] == ["--name", "harmless-name"]
    assert "--api-key" in trial["target"]["command"]
    assert "n=1" in trial["target"]["url"]


def test_no_process_shows_a_secret_that_came_from_a_file_or_the_environment(
    run: tuple[Path, str, str, Ps],
) -> None:
    ps = run[-1]
    assert ps.looks > 3, "it was looked at while it ran"
    assert ps.seen == set()


def test_a_run_without_its_secrets_is_judged_and_reported_again(run: tuple[Path, str, str, Ps]) -> None:
    folder = run[0]
    before = json.loads((folder / "run" / "verdict.json").read_text())
    again = harness_here(folder, "judge", folder / "run", "--json", folder / "again.json")
    assert again.returncode == 1, again.stderr
    assert json.loads((folder / "again.json").read_text())["explanation"] == before["explanation"]
    assert found_in(again.stdout + again.stderr) == []
    assert harness_here(folder, "report", folder / "run").returncode == 0


def test_no_command_that_reads_a_saved_run_shows_a_secret(run: tuple[Path, str, str, Ps]) -> None:
    folder = run[0]
    assert json.loads((folder / "notification.json").read_text())[0]["outcome"] == "crashed"
    history = ("--history", folder / "history.db")
    for words in (
        ("explain", folder / "run"),
        ("compare", folder / "run", folder / "run"),
        ("history", "list", *history),
        ("history", "export", "--format", "jsonl", "--out", folder / "export.jsonl", *history),
        ("history", "site", folder / "site", *history),
        ("trend", *history),
        ("baseline", "accept", folder / "run", "--out", folder / "accepted.toml"),
    ):
        done = harness_here(folder, *words, history="none")
        assert "Traceback" not in done.stderr, done.stderr
        assert "defect of the harness" not in done.stderr, done.stderr
        assert found_in(done.stdout + done.stderr) == [], words
    made = [folder / "export.jsonl", *(path for path in (folder / "site").rglob("*") if path.is_file())]
    assert len(made) > 2
    assert {path.name: held for path in made if (held := found_in(path.read_text(errors="replace")))} == {}


def test_logged_text_reaches_the_terminal_and_ci_without_control_sequences(
    run: tuple[Path, str, str, Ps],
) -> None:
    folder, out, said, _ = run
    for text in (out, said):
        assert "##[" not in text
        assert "\x1b" not in text
        assert "\x9b" not in text
    commands = [line for line in (out + said).splitlines() if line.lstrip().startswith("::")]
    assert len(commands) == 1, "our own annotation"
    assert commands[0].startswith("::error title=harness%3A guard%3A crashed::")
    for file in (folder / "out.xml", folder / "run" / "junit.xml"):
        suite = ET.parse(file).getroot()
        assert [case.get("name") for case in suite.iter("testcase")] == ["guard"]
        assert "planted" in ET.tostring(suite, encoding="unicode"), "the log is quoted"
    summary = (folder / "step.md").read_text()
    assert "<script>" not in summary
    (hostile,) = [line for line in summary.splitlines() if line.startswith("- log: \\| a \\| b")]
    assert "\\[link\\](javascript:planted)" in hostile
    assert "https\\://x.example" in hostile
    assert "@user" not in hostile
    assert "<script>planted" not in (folder / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("guard", "--url", "http://h:1/?key=S3cretPa55", "--dwell", "S3cretPa55"), 2),
        (("guard", "--url", "http://h:1/?token=S3cretPa55", "--budget", "S3cretPa55.toml", "--", "true"), 2),
        (("guard", "--url", "http://h:1/", "--header", "Authorization Bearer S3cretPa55", "--", "true"), 2),
        (
            ("guard", "--url", "http://h:1/", "--header", "X-Api-Key: S3cret\nPa55 S3cretPa55", "--", "true"),
            2,
        ),
        (("guard", "--url", "http://127.0.0.1:{port}/", "--", "no-such-command", "--token", "S3cretPa55"), 2),
        (("guard", "S3cretPa55", "--password=S3cretPa55"), 2),
        (("judge", "http://u:S3cretPa55@h/"), 2),
    ],
)
def test_no_error_quotes_a_secret(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = harness_here(tmp_path, *words, history="none")
    assert done.returncode == code, done.stderr
    assert "S3cret" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("harness: ")


def test_a_variable_leaves_the_environment_of_the_process_and_of_what_it_starts() -> None:
    program = (
        "import os, subprocess\nfrom harness.process.environment import forget\nforget('PLANTED')\n"
        "print('PLANTED' in os.environ, open('/proc/self/environ').read(), subprocess.check_output(['env']))"
    )
    env = {**os.environ, "PLANTED_TOO": "stays", "PLANTED": "v4lue"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=60
    )
    assert done.stdout.startswith("False "), done.stderr
    assert "v4lue" not in done.stdout
    assert done.stdout.count("PLANTED_TOO=stays") == 2


def test_printed_json_means_the_same_without_a_workflow_command() -> None:
    text = json.dumps({"a": "x ##[error]y", "b": ["##["]})
    assert json.loads(json_text(text)) == json.loads(text)
    assert "##[" not in json_text(text)
