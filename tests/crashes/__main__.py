"""``python -m tests.crashes [NAME …]``: build and run the programs that crash, and write their logs again.

Paths of this machine, process ids and addresses of the stack are replaced; nothing else is changed. A compiler that
is not installed is an error for the programs that need it, and the other logs are still written.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.crashes.programs import PROGRAMS, Program

LOGS = Path(__file__).parent / "logs"
TIMEOUT = 60.0  # seconds of one program
LINES = 140  # of one log
HEADER = {
    "c": ("main.c", ("gcc", "-O0", "-w", "-o", "service", "main.c")),
    "c++": ("main.cpp", ("g++", "-O0", "-w", "-o", "service", "main.cpp")),
    "rust": ("service.rs", ("rustc", "-g", "-o", "service", "service.rs")),
    "go": ("main.go", ("go", "build", "-gcflags=-l", "-o", "service", "main.go")),
    "cgo": ("main.go", ("go", "build", "-gcflags=-l", "-o", "service", "main.go")),
    "java": ("Service.java", ("javac", "Service.java")),
    "python": ("service.py", ()),
    "node": ("service.js", ()),
}


def command(program: Program) -> list[str]:
    """How the built program starts."""
    if program.language == "python":
        return [sys.executable, *program.options, "service.py"]
    if program.language == "node":
        return ["node", *program.options, "service.js"]
    if program.language == "java":
        return ["java", *program.options, "Service"]
    return ["./service"]


def record(name: str) -> int | None:
    """Run one program and write its log. Returns its exit code."""
    program = PROGRAMS[name]
    with tempfile.TemporaryDirectory() as folder:
        file, build = HEADER[program.language]
        (Path(folder) / file).write_text(program.source.lstrip())
        if build:
            options = program.options if program.language in ("c", "c++") else ()
            subprocess.run([*build, *options], cwd=folder, check=True, timeout=300)
        limits = f"ulimit -c 0; ulimit {program.limit}; " if program.limit else "ulimit -c 0; "
        env = {**os.environ, **dict(program.environment)}
        with (Path(folder) / "log").open("wb") as log:
            done = subprocess.run(
                ["bash", "-c", f'{limits}exec "$@"', "bash", *command(program)],
                cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False,
            )  # fmt: skip
        text = (Path(folder) / "log").read_text(errors="replace")
        for report in sorted(Path(folder).glob("hs_err*")) if program.after else ():
            text += report.read_text(errors="replace")
        text = neutral(text, folder)
    lines = text.splitlines()
    lines = lines[:LINES]
    (LOGS / f"{name}.log").write_text("\n".join(lines) + "\n")
    print(f"{name}: exit {done.returncode}, {len(lines)} lines")
    return done.returncode


def neutral(text: str, folder: str) -> str:
    """Without the paths, the process ids and the host name of this machine."""
    text = text.replace(folder, "/srv/service")
    text = re.sub(rf"(?<!\w){re.escape(os.uname().nodename)}(?!\w)", "host", text)
    text = re.sub(r"/\S*?/(lib/python3\.\d+)/", r"/usr/\1/", text)
    text = re.sub(r"\.venv/|/root/\S*?/(?=\w+\.rs)", "", text)
    text = re.sub(r"\bpid=\d+", "pid=4711", text)
    return re.sub(r"hs_err_pid\d+", "hs_err_pid4711", text)


def main() -> int:
    """Write the logs that were named, or all."""
    LOGS.mkdir(exist_ok=True)
    failed = []
    for name in sys.argv[1:] or PROGRAMS:
        try:
            record(name)
        except (OSError, subprocess.SubprocessError) as error:
            failed.append(f"{name}: {error}")
    print(*failed, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
