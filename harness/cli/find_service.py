"""Guesses from the files of a project how its service is started and where its stream is. Nothing is executed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import ConfigError
from harness.process.read import read_bounded

MAX_FILES = 300  # source files that are searched
MAX_FILE_BYTES = 256 << 10  # bytes of a file that is searched
MAX_DEPTH = 3  # levels of folders
SKIPPED = frozenset(
    {"node_modules", "venv", "env", "site-packages", "tests", "test", "build", "dist", "__pycache__"}
)
SUFFIXES = (".py", ".js", ".mjs", ".ts", ".go")
STREAMS = ("text/event-stream", "EventSourceResponse", "StreamingResponse")
# The path in @app.get("/events"), Route("/events"), app.get('/events', …) and HandleFunc("GET /events", …).
_ROUTE = re.compile(
    r"(?:\.(?:get|post|route|add_get|add_route|HandleFunc|Handle)|\b(?:Route|path|HandleFunc|Handle))"
    r"\(\s{0,20}[\"'](?:[A-Z]{3,7} )?(/?[\w/.\-]{0,200})[\"']"
)
_LIKELY = re.compile(r"(?i)sse|event|stream")
_APPLICATION = re.compile(r"^(\w{1,60})\s{0,8}=\s{0,8}(FastAPI|Starlette|Flask|Quart|Sanic)\(", re.MULTILINE)
ENTRY = ("app.py", "main.py", "server.py", "service.py")


@dataclass(frozen=True, slots=True)
class Service:
    """command: arguments with ``{port}``, ``python`` for the interpreter. path: of the stream. None: not found."""

    command: tuple[str, ...] | None = None
    path: str | None = None


def find_service(folder: Path) -> Service:
    """The service of a project. A Procfile decides; else the framework, the language, a usual file name."""
    texts = {path: text for path in _files(folder) if (text := _read(path))}
    command = _procfile(folder) or _python(folder, texts) or _node(folder) or _go(folder)
    return Service(command, _stream(texts))


def _files(folder: Path) -> Iterator[Path]:
    """Sources, nearest first, in a fixed order."""
    level, seen = [folder], 0
    for _ in range(MAX_DEPTH):
        following: list[Path] = []
        for parent in level:
            try:
                entries = sorted(parent.iterdir())
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SKIPPED:
                    continue
                if entry.suffix in SUFFIXES and entry.is_file():
                    seen += 1
                    if seen > MAX_FILES:
                        return
                    yield entry
                elif entry.is_dir() and not entry.is_symlink():
                    following.append(entry)
        level = following


def _read(path: Path) -> str:
    try:
        return read_bounded(
            path, MAX_FILE_BYTES, option=str(path), expected="a source file", silent=1.0
        ).decode(errors="replace")
    except ConfigError:
        return ""


def _procfile(folder: Path) -> tuple[str, ...] | None:
    for line in _read(folder / "Procfile").splitlines():
        name, colon, text = line.partition(":")
        if colon and name.strip() == "web":
            for form in ("${PORT}", "$PORT"):
                text = text.replace(form, "{port}")
            try:
                return tuple(shlex.split(text)) or None
            except ValueError:
                return None
    return None


def _python(folder: Path, texts: dict[Path, str]) -> tuple[str, ...] | None:
    if (folder / "manage.py").is_file():
        # With its reloader Django serves from a child process, which any change of a file restarts.
        return ("python", "manage.py", "runserver", "127.0.0.1:{port}", "--noreload")
    for path, text in texts.items():
        found = _APPLICATION.search(text) if path.suffix == ".py" else None
        if found:
            parts = path.relative_to(folder).with_suffix("").parts
            module = ".".join(parts[1:] if parts[0] == "src" else parts)
            where = ("--app-dir", "src") if parts[0] == "src" and found[2] in ("FastAPI", "Starlette") else ()
            if found[2] in ("FastAPI", "Starlette", "Quart"):
                return ("python", "-m", "uvicorn", f"{module}:{found[1]}", *where, "--port", "{port}")
            if found[2] == "Flask":
                return ("python", "-m", "flask", "--app", f"{module}:{found[1]}", "run", "--port", "{port}")
            return ("python", "-m", "sanic", f"{module}:{found[1]}", "--port", "{port}")
    for name in ENTRY:
        source = texts.get(folder / name)
        if source is not None:
            given = ("--port", "{port}") if "--port" in source else () if "PORT" in source else ("{port}",)
            return ("python", name, *given)
    return None


def _node(folder: Path) -> tuple[str, ...] | None:
    try:
        package = json.loads(_read(folder / "package.json") or "{}")
        start = package["scripts"]["start"]
        words = tuple(shlex.split(start))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return ("node", "server.js") if (folder / "server.js").is_file() else None
    # npm would be one more process between the harness and the service, so it is used only where it is needed.
    return words if words[:1] == ("node",) else ("npm", "start")


def _go(folder: Path) -> tuple[str, ...] | None:
    return ("go", "run", ".") if (folder / "go.mod").is_file() else None


def _stream(texts: dict[Path, str]) -> str | None:
    """The path of the most likely route: by its name, else one in a file that streams."""
    streaming = [text for text in texts.values() if any(word in text for word in STREAMS)]
    for likely in (True, False):
        for text in streaming:
            for match in _ROUTE.finditer(text):
                if not likely or _LIKELY.search(match[1]):
                    return f"/{match[1].lstrip('/')}"
    return None
