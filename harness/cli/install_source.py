"""The source from which a workflow can install the harness: that of this installation."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.core.secret_values import secrets_in_url

PACKAGE = "sse-leak-harness"
GIT_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Source:
    """spec: what pip accepts after the ``@`` of a requirement. local: whether only this machine has it."""

    spec: str
    local: bool = False

    @property
    def requirement(self) -> str:
        """``sse-leak-harness[pytest] @ git+https://…``"""
        return f"{PACKAGE}[pytest] @ {self.spec}"


def given(text: str, folder: Path) -> Source:
    """The source that ``--source`` names: a URL that pip accepts, or a path, which is made relative to the project."""
    if "://" in text:
        return Source(text)
    path = (folder / text).resolve()
    return Source(path.as_uri(), local=True)


def detect() -> Source | None:
    """From pip's record of this installation (PEP 610): a git URL with its commit, a file, or a folder. None for an
    installation from an index."""
    try:
        text = importlib.metadata.distribution(PACKAGE).read_text("direct_url.json")
        record = json.loads(text or "{}")
        url = str(record["url"])
    except (importlib.metadata.PackageNotFoundError, KeyError, TypeError, ValueError):
        return None
    if "vcs_info" in record:
        info = record["vcs_info"]
        return Source(f"{info['vcs']}+{url}@{info['commit_id']}")
    parts = urlsplit(url)
    if parts.scheme != "file":
        return Source(url)
    # A folder exists on this machine alone; the remote of a checkout can be reached from others.
    return _of_checkout(Path(unquote(parts.path))) or Source(url, local=True)


def _of_checkout(folder: Path) -> Source | None:
    """The remote of a git checkout, at its present commit. None where there is none, or one with a password in it."""
    remote, commit = _git(folder, "remote", "get-url", "origin"), _git(folder, "rev-parse", "HEAD")
    if not remote or not commit or not remote.startswith("https://") or list(secrets_in_url(remote)):
        return None
    return Source(f"git+{remote}@{commit}")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
