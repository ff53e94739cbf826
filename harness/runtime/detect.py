"""Which runtime a target is: from the command before it starts, from the executable once it runs."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import OptionError
from harness.process.proc import executable, tree

PYTHON, NODE, GO, JVM, NATIVE, UNKNOWN = "python", "node", "go", "jvm", "native", "unknown"
RUNTIMES = (PYTHON, NODE, GO, JVM)
OVERRIDES = ("auto", "none", *RUNTIMES)
GO_MAGIC = b"\xff Go buildinf:"  # debug/buildinfo: every Go binary since 1.13 carries it, stripped or not
ELF = b"\x7fELF"
# Programs that run another one, which is named after their options.
WRAPPERS = {
    "env",
    "nice",
    "nohup",
    "setsid",
    "stdbuf",
    "timeout",
    "sudo",
    "exec",
    "chrt",
    "ionice",
    "taskset",
}
NAMES = (
    (re.compile(r"^(?:python|pypy)[\d.]*t?$"), PYTHON),
    (re.compile(r"^(?:node|nodejs|npm|npx|yarn|pnpm|tsx|ts-node)$"), NODE),
    (re.compile(r"^(?:java|mvn|gradle)$"), JVM),
)
LIBRARIES = ((re.compile(r"/libpython3[\d.]*t?\.so"), PYTHON), (re.compile(r"/libjvm\.so"), JVM))
# Languages whose runtimes have no counters that the harness reads. The advice names them.
RUBY, PHP, RUST = "ruby", "php", "rust"
LANGUAGES = (
    (re.compile(r"/(?:ruby[\d.]*|libruby[-\d.]*\.so[\d.]*)$"), RUBY),
    (re.compile(r"/(?:php(?:-cgi|-fpm)?[\d.]*|libphp[\d.]*\.so)$"), PHP),
)
LANGUAGE_NAMES = {RUBY: "Ruby", PHP: "PHP", RUST: "Rust"}
# The folder in which the standard library of every released compiler was built: messages of panics name its files.
RUST_MAGIC = b"/rustc/"
SHEBANG_LIMIT = 512  # bytes of a script's first line that are read; the kernel reads 256


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime of a target. runtime: one of RUNTIMES, ``native`` (none of them), ``unknown`` (a script, whose
    processes show it later) or ``none`` (switched off). reason: how it was recognised, for the record. pid: the process
    in which it was recognised. written_in: the language of a ``native`` service, if it is known."""

    runtime: str
    reason: str
    pid: int | None = None
    written_in: str = ""

    @property
    def language(self) -> str:
        """The language that the advice names: the runtime, or the language of a native service."""
        return self.written_in or self.runtime


def choose(target: int | Sequence[str], override: str = "auto") -> Choice:
    """The runtime of a running process tree (pid) or of a command before it is started.

    Raises ConfigError when ``override`` is none of OVERRIDES.
    """
    if override not in OVERRIDES:
        raise OptionError("runtime", override, f"expected one of {', '.join(OVERRIDES)}")
    if override == "none":
        return Choice("none", "switched off")
    if override != "auto":
        return Choice(override, "requested by name", target if isinstance(target, int) else None)
    return of_process(target) if isinstance(target, int) else of_command(target)


def of_process(pid: int) -> Choice:
    """The first process of the tree, parents first, that is a known runtime."""
    for process in tree(pid):
        path = executable(process)
        name = path.rpartition("/")[2]
        for pattern, runtime in NAMES:
            if pattern.match(name):
                return Choice(runtime, f"process {process} runs {path}", process)
        loaded = _of_mappings(process)
        if loaded is not None:
            return Choice(loaded, f"process {process} has the library of {loaded} loaded", process)
        if path and is_go(Path(f"/proc/{process}/exe")):
            return Choice(GO, f"process {process} runs {path}, built by Go", process)
    # Only after every process was checked for a runtime with counters: a native launcher may be the parent of one.
    for process in tree(pid):
        if language := _language(process):
            name = LANGUAGE_NAMES[language]
            reason = f"process {process} runs {executable(process)}, and {name} has no counters to read"
            return Choice(NATIVE, reason, process, language)
    return Choice(
        NATIVE, f"process {pid} runs {executable(pid) or 'an unreadable program'}: no known runtime"
    )


def _language(pid: int) -> str:
    """The language that a process without known counters is written in; "" if it is unknown."""
    paths = [executable(pid)]
    with contextlib.suppress(OSError):
        paths += [line.split(None, 5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    for pattern, language in LANGUAGES:
        if any(pattern.search(path) for path in paths):
            return language
    return RUST if _has(Path(f"/proc/{pid}/exe"), RUST_MAGIC) else ""


def _of_mappings(pid: int) -> str | None:
    """An interpreter inside another program (uWSGI, an application server written in C)."""
    try:
        text = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return None
    return next((runtime for pattern, runtime in LIBRARIES if pattern.search(text)), None)


def of_command(command: Sequence[str]) -> Choice:
    """The runtime of a command, seen through wrappers and ``#!`` lines."""
    words = list(command)
    while words:
        name = words[0].rpartition("/")[2]
        if name in WRAPPERS:
            words = _after_options(words[1:])
            continue
        return _of_program(words[0])
    return Choice(UNKNOWN, "an empty command")


def _after_options(words: list[str]) -> list[str]:
    """Skip a wrapper's options, assignments and numbers (``timeout 5``, ``env A=b``)."""
    while words and (words[0].startswith("-") or "=" in words[0] or re.fullmatch(r"[\d.]+[smhd]?", words[0])):
        words = words[1:]
    return words


def _of_program(word: str) -> Choice:
    # A command such as "app" may be a link to an interpreter.
    for name in (word, _resolved(word)):
        for pattern, runtime in NAMES:
            if pattern.match(name.rpartition("/")[2]):
                return Choice(runtime, f"the command runs {word}")
    path = Path(_resolved(word))
    try:
        with path.open("rb") as file:
            start = file.read(SHEBANG_LIMIT)
    except OSError:
        return Choice(UNKNOWN, f"{word} cannot be read")
    if start.startswith(b"#!"):
        line = start[2:].partition(b"\n")[0].decode(errors="replace").split()
        inner = of_command(line) if line else Choice(UNKNOWN, "")
        return Choice(inner.runtime, f"the command runs {word}, a script for {' '.join(line)[:80]}")
    if start.startswith(ELF):
        if is_go(path):
            return Choice(GO, f"{word} was built by Go")
        shell = path.name in ("sh", "bash", "dash", "zsh", "busybox")
        # A native program may still be a launcher (a shell, a supervisor): its processes will show the runtime.
        return Choice(
            UNKNOWN,
            f"{word} is {'a shell' if shell else 'a native program'}; its processes show the runtime once they run",
        )
    return Choice(UNKNOWN, f"{word} is not a known program")


def _resolved(word: str) -> str:
    found = shutil.which(word)
    return os.path.realpath(found or word)


def is_go(path: Path) -> bool:
    """Whether an executable carries Go's build information."""
    return _has(path, GO_MAGIC)


def _has(path: Path, magic: bytes) -> bool:
    """Whether an ELF executable contains these bytes."""
    try:
        with path.open("rb") as file:
            if file.read(4) != ELF:
                return False
            # Mapped, because a Go binary may have hundreds of megabytes.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
                return image.find(magic) >= 0
    except (OSError, ValueError):
        return False
