"""A machine of a CI system, as far as a recipe notices: its own folder, and pip without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is downloaded elsewhere comes from the environment of the tests. The harness itself is installed for real.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  "{python}" -m venv --without-pip "$3"
  echo "{site}" > "$3/lib/python{version}/site-packages/packages-of-the-tests.pth"
else
  exec "{python}" "$@"
fi
"""
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the negation: no isolation
    "PIP_FORCE_REINSTALL": "1",
    "PIP_NO_COMPILE": "1",
}


def source(folder: Path) -> Path:
    """A checkout: pip builds in the folder that it installs from."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "harness", "fake_broker",
         ".github/actions", "*.py", "*.toml", "*.md", "LICENSE"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("tests/", "bench/", "docs/", "examples/")) or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def wheel(folder: Path) -> Path:
    """The harness as a wheel, for recipes that name a requirement."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(folder / "wheel"), str(source(folder / "source"))],
        check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    (made,) = (folder / "wheel").glob("*.whl")
    return made


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Variables of a job, with ``python`` and ``python3`` on its PATH. Nothing of this CI system's own."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("python", "python3"):
        (tools / name).write_text(
            PYTHON.format(
                python=sys.executable,
                site=sysconfig.get_paths()["purelib"],
                version=f"{sys.version_info[0]}.{sys.version_info[1]}",
            )
        )
        (tools / name).chmod(0o755)
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    path = os.pathsep.join((str(tools), "/usr/local/bin", "/usr/bin", "/bin"))
    return kept | OFFLINE | {"PATH": path, "HARNESS_HISTORY": "none"} | more


def run(
    script: str, shell: tuple[str, ...], cwd: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """One script, as a CI system hands it to its shell."""
    return subprocess.run(
        [*shell, script],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )
