"""The origin of a run: machine, commit, branch and CI job. Anything that cannot be found out is left empty."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

TIMEOUT = 5.0  # seconds for git
# Variables of GitHub Actions, GitLab CI, Jenkins, CircleCI and Buildkite, as their references name them.
COMMIT = ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "CIRCLE_SHA1", "BUILDKITE_COMMIT")
BRANCH = (
    "GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME", "GIT_BRANCH", "CIRCLE_BRANCH",
    "BUILDKITE_BRANCH",
)  # fmt: skip
JOB = ("CI_JOB_URL", "BUILD_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL")
CREDENTIALS = re.compile(r"//[^/@]*@")


def machine() -> dict[str, object]:
    """The properties of this machine that figures depend on. machine_class: machines of one class have comparable
    figures."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": cores,
        "machine_class": f"{platform.machine()}, {cores} cores, {memory:.0f} GiB",
        **source(os.environ),
    }


def source(environment: Mapping[str, str], folder: Path | None = None) -> dict[str, object]:
    """commit, branch, dirty and ci_job, as far as git and the CI's environment provide them. folder: a work tree, or
    the current one."""
    commit, branch, dirty = _git(environment, folder)
    found: dict[str, object] = {
        "commit": commit or _first(environment, COMMIT),
        # A CI job has checked out a commit, not a branch, so git knows no branch there: the job's variable comes first.
        "branch": _first(environment, BRANCH) or branch,
        "dirty": dirty,
        "ci_job": _job(environment),
    }
    return {name: value for name, value in found.items() if value not in ("", None)}


def _git(environment: Mapping[str, str], folder: Path | None) -> tuple[str, str, bool | None]:
    """Commit, branch and whether tracked files differ from the commit."""
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            # Without optional locks `git status` does not write the index, which another git of the user may be using
            # (git(1)).
            env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return "", "", None
    head: dict[str, str] = {}
    dirty = False
    for line in done.stdout.splitlines():
        if line.startswith("# "):
            name, _, value = line[2:].partition(" ")
            head[name] = value
        else:
            dirty = True
    commit, branch = head.get("branch.oid", ""), head.get("branch.head", "")
    # "(initial)" before the first commit, "(detached)" without a branch (git-status(1), porcelain format 2).
    return "" if commit.startswith("(") else commit, "" if branch.startswith("(") else branch, dirty


def _job(environment: Mapping[str, str]) -> str:
    """The page of the CI job, without credentials."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (environment.get(name, "") for name in names)
    page = f"{server}/{repository}/actions/runs/{run}" if run else _first(environment, JOB)
    return CREDENTIALS.sub("//", page)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")
