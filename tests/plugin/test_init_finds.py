"""``harness init`` finds in a project how its service starts, where its stream is, and the source to install."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import init, install_source
from harness.cli.find_service import Service, find_service
from harness.cli.install_source import Source
from harness.core.errors import ConfigError

FASTAPI = """
from fastapi import FastAPI
api = FastAPI()
@api.get("/health")
def health(): ...
@api.get("/live/events")
def events(): return EventSourceResponse(x())
"""
FLASK = "app = Flask(__name__)\n@app.route('/feed')\ndef f(): return Response(x(), mimetype='text/event-stream')\n"
EXPRESS = "app.get('/stream', (q, r) => r.set('Content-Type', 'text/event-stream'))\n"
GO = 'http.HandleFunc("GET /sse", h)\nw.Header().Set("Content-Type", "text/event-stream")\n'
PROJECTS = {
    "fastapi": (
        {"src/web/main.py": FASTAPI},
        "python -m uvicorn web.main:api --app-dir src --port {port}",
        "/live/events",
    ),
    "flask": ({"app.py": FLASK}, "python -m flask --app app:app run --port {port}", "/feed"),
    "plain": ({"server.py": "parser.add_argument('--port')"}, "python server.py --port {port}", None),
    "procfile": ({"Procfile": "web: ./serve -p $PORT\n", "app.py": FLASK}, "./serve -p {port}", "/feed"),
    "express": (
        {"server.js": EXPRESS, "package.json": '{"scripts": {"start": "node server.js"}}'},
        "node server.js",
        "/stream",
    ),
    "go": ({"main.go": GO, "go.mod": "module x\n"}, "go run .", "/sse"),
    "nothing": ({"README": "text/event-stream"}, None, None),
}  # fmt: skip


def project(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", PROJECTS)
def test_the_command_and_the_stream_of_a_project_are_found(name: str, tmp_path: Path) -> None:
    files, command, path = PROJECTS[name]
    found = find_service(project(tmp_path, files))
    assert found == Service(tuple(command.split()) if command else None, path)


def test_files_that_cannot_be_read_or_never_end_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "app.py").symlink_to("/dev/zero")
    (tmp_path / "huge.py").write_text("x" * (300 << 10))
    (tmp_path / "package.json").write_text("[" * 5000)
    assert find_service(tmp_path) == Service(None, None)


def written(folder: Path, *options: str) -> tuple[str, str, str]:
    done = CliRunner().invoke(init.command, [str(folder), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return (
        done.output,
        (folder / "tests" / "test_leaks.py").read_text(),
        (folder / ".github" / "workflows" / "leaks.yml").read_text(),
    )


def test_given_options_are_written_as_valid_python(tmp_path: Path) -> None:
    words = ["./serve", '--name="a b"', "--port", "{port}", "é\U0001f600"]
    _, test, _ = written(tmp_path, "--command", shlex.join(words), "--url", "http://127.0.0.1:{port}/x?a='1'")
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(test).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert values == {"URL": "http://127.0.0.1:{port}/x?a='1'", "COMMAND": words}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--command", "'"), "quotes closed"),
        (("--command", ""), "expected the program"),
        (("--url", "ftp:x"), "url=.ftp:x.: not an absolute URL"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_written(
    options: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        CliRunner().invoke(init.command, [str(tmp_path), *options], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_marker_is_written_only_if_its_plugin_is_there(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    _, test, workflow = written(tmp_path)
    assert ("pytest.mark.timeout" in test) is there
    assert ("import pytest" in test) is there
    assert ("pytest-timeout" in workflow) is there
    compile(test, "test_leaks.py", "exec")


def test_the_workflow_installs_from_where_this_installation_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str:
            assert name == "direct_url.json"
            vcs = {"vcs": "git", "commit_id": "abc123"}
            return json.dumps({"url": "https://git.example/o/n.git", "vcs_info": vcs})

    monkeypatch.setattr(install_source.importlib.metadata, "distribution", lambda _: Installed())
    assert install_source.detect() == Source("git+https://git.example/o/n.git@abc123")
    output, _, workflow = written(tmp_path)
    assert (
        "- run: pip install 'sse-leak-harness[pytest] @ git+https://git.example/o/n.git@abc123'" in workflow
    )
    assert "other machines" not in output


def test_a_source_that_only_this_machine_has_is_reported_to_be_one(tmp_path: Path) -> None:
    source = tmp_path / "the harness #1"
    source.mkdir()
    output, _, workflow = written(tmp_path, "--source", str(source))
    assert "which other machines do not have" in output
    (install,) = re.findall(r"- run: (pip install .*sse-leak.*)", workflow)
    assert source.as_uri() in install


@pytest.mark.parametrize(
    ("file", "text", "needs"),
    [
        ("requirements.txt", "x", "pip install -r requirements.txt"),
        ("pyproject.toml", "[project]\nname = 'x'\n", "pip install ."),
        ("package-lock.json", "{}", "npm ci"),
    ],
)
def test_the_workflow_installs_what_the_project_needs(
    file: str, text: str, needs: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    assert f"      - run: {needs}\n" in written(tmp_path)[2]
