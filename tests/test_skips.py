"""A skip whose reason is not listed fails the job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import skips

ROOT = Path(skips.__file__).parents[1]
SUITE = """
import pytest
@pytest.mark.skipif(True, reason="go is not installed")
def test_listed(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_other(n):
    if {other}: pytest.skip("no time")
@pytest.mark.xfail
def test_known(): assert False
def test_passes(): pass
"""


def run(
    folder: Path, job: str, *, other: bool, more: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(SUITE.format(other=other))
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.skips",
        "--skips",
        job,
        "--rootdir",
        str(folder),
        *more,
    ]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        capture_output=True, text=True, check=False, cwd=folder,
        # Other plugins have no part in it, and take longer to import than the run does.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "1")])
def test_a_reason_that_is_not_listed_fails_the_run(tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = run(tmp_path, "machine", other=True, more=workers)
    assert done.returncode == 1, done.stdout
    assert "3 skipped, for 2 reasons" in done.stdout
    assert "not listed for this job in tests/skips.toml: no time" in done.stdout
    assert "2 no time" in done.stdout
    assert "reasons" not in done.stdout.replace("for 2 reasons", "")


def test_listed_reasons_are_counted_and_pass_where_the_job_lists_them(tmp_path: Path) -> None:
    done = run(tmp_path, "machine", other=False)
    assert done.returncode == 0, done.stdout
    assert "1 skipped, for 1 reasons" in done.stdout
    assert "1 go is not installed" in done.stdout
    assert run(tmp_path, "github", other=False).returncode == 1, "GitHub's machines have Go"


def test_a_job_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    done = run(tmp_path, "gitlab", other=False)
    assert done.returncode == 4
    assert "--skips gitlab: expected one of machine, root," in done.stderr


@pytest.mark.parametrize(
    ("job", "reason", "fine"),
    [
        ("unprivileged", "needs root to become another user", True),
        ("unprivileged", "hiding /proc needs root", True),
        ("root", "needs root to become another user", False),
        ("root", "to become another user takes root; the modes were checked", False),
        ("root", "go is not installed", True),
        ("root", "python3.14 is not installed", True),
        ("github-root", "node is not installed", False),
        ("github-root", "needs root and a pids controller", True),
        ("github", "needs root, to become another user for the attack", True),
        ("machine", "", False),
        ("machine", "go is not installed, and more", False),
        ("machine", "it is flaky", False),
    ],
)
def test_each_job_allows_its_own_skips(job: str, reason: str, fine: bool) -> None:
    assert skips.unlisted([reason], skips.allowed(job, skips.TABLE.read_text())) == ([] if fine else [reason])


def test_every_reason_in_the_tests_is_listed() -> None:
    """Reasons written out in the tests, so that none is found only on a machine where it applies."""
    found = {
        match[1] or match[2]
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.name != Path(__file__).name
        for match in re.finditer(
            r'pytest\.skip\("([^"]+)"\)|skipif\([^@]*?reason="([^"]+)"', path.read_text()
        )
    }
    assert len(found) > 10
    wrong = skips.unlisted(found, skips.allowed("machine", skips.TABLE.read_text()))
    assert wrong == []


def test_every_job_of_the_workflows_is_in_the_table() -> None:
    jobs = tomllib.loads(skips.TABLE.read_text())["jobs"]
    used = {
        job
        for path in [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".ci" / "run", ROOT / "Makefile"]
        for job in re.findall(r"\bSKIPS(?::| \?=|=) *([a-z][a-z-]+)", path.read_text())
    }
    assert used == set(jobs)
