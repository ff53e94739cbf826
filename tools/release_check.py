"""What a release would publish: builds sdist and wheel, and installs the wheel where nothing else is.

``python -m tools.release_check`` (``make release-check``) writes both to ``dist/``. The wheel is built from the sdist,
so that a file missing there is noticed. Dependencies have the versions of constraints.txt. Exits with 1 at the first
fault.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from setuptools import build_meta  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
NEEDED = (
    "harness/py.typed",
    "harness/__init__.pyi",
    "harness/runtime/agent/node/agent.js",
    "fake_broker/__init__.py",
    "sse_leak_harness_plugin.py",
)
PIN = re.compile(r"^([A-Za-z0-9._-]+==[^ ]+)", re.MULTILINE)
# Their own module named harness must not stop their tests (docs/pytest.md).
THEIR_TEST = "import harness\n\ndef test_their_own():\n    assert harness.answer == 42\n"


class Fault(Exception):
    """Something that must not be published."""


def run(*words: str | Path, folder: Path | None = None) -> str:
    """A command's output. Raises Fault with all of it when the command fails."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise Fault(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(version: str) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    DIST.mkdir(exist_ok=True)
    for old in (*DIST.glob("*.tar.gz"), *DIST.glob("*.whl")):
        old.unlink()
    os.chdir(ROOT)
    with contextlib.redirect_stdout(io.StringIO()):
        sdist = DIST / build_meta.build_sdist(str(DIST))
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(sdist) as archive:
            archive.extractall(name, filter="data")
        (source,) = Path(name).iterdir()
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--wheel-dir", DIST, source)  # fmt: skip
    (wheel,) = DIST.glob("*.whl")
    if f"-{version}-" not in wheel.name or f"-{version}." not in sdist.name:
        raise Fault(f"{wheel.name}, {sdist.name}: expected version {version} in both names")
    return sdist, wheel


def check_content(wheel: Path) -> None:
    """Every file that a user needs, and none of the tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    if missing := [name for name in NEEDED if name not in names]:
        raise Fault(f"{wheel.name}: missing {', '.join(missing)}; add them to package-data")
    if extra := sorted(
        {name.split("/")[0] for name in names} & {"tests", "bench", "tools", "examples", "docs"}
    ):
        raise Fault(f"{wheel.name}: contains {', '.join(extra)}; only the packages are published")


def check_installed(wheel: Path, version: str) -> None:
    """The wheel in an environment without anything else: commands, types, plugin."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        run(sys.executable, "-m", "venv", home / "venv")
        python, commands = home / "venv/bin/python", home / "venv/bin"
        pins = home / "pins.txt"
        pins.write_text("\n".join(PIN.findall((ROOT / "constraints.txt").read_text())))
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
            "--constraint", pins, f"{wheel}[pytest]")  # fmt: skip
        run(python, "-m", "pip", "check")
        if version not in (shown := run(commands / "harness", "--version", folder=home)):
            raise Fault(f"harness --version: {shown!r}; expected {version}")
        print(run(commands / "harness", "doctor", folder=home))
        run(commands / "fake-broker", "--help", folder=home)
        theirs = home / "theirs"
        theirs.mkdir()
        (theirs / "harness.py").write_text("answer = 42\n")
        (theirs / "test_theirs.py").write_text(THEIR_TEST)
        run(python, "-m", "pytest", "-q", folder=theirs)


def main() -> int:
    """0 when both files may be published."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    try:
        sdist, wheel = build(version)
        check_content(wheel)
        check_installed(wheel, version)
    except Fault as fault:
        print(f"release-check: {fault}", file=sys.stderr)
        return 1
    print(
        f"release-check: {sdist.name} and {wheel.name} are complete; the wheel works in an empty environment"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
