"""Folders for sockets: private, removed at the end, and by the next run after a kill."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.process.private_folder import FALLBACK, LOCK, PrivateFolder, remove_abandoned
from tests.edges.unprivileged import NOBODY, needs_root

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys; from harness.process.private_folder import PrivateFolder\n"
    "print(PrivateFolder('swarm').path, flush=True); sys.stdin.read()"
)


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    short = Path(tempfile.mkdtemp(prefix="pf-", dir=FALLBACK))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    monkeypatch.setenv("TMPDIR", str(short))
    return short


def holder() -> tuple[subprocess.Popen[str], Path]:
    """Another run, with a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_removed_at_the_end(parent: Path) -> None:
    with PrivateFolder("runtime") as folder:
        assert folder.path.parent == parent
        assert stat.S_IMODE(folder.path.lstat().st_mode) == 0o700
        (folder.path / "file").write_text("x")
    folder.close()
    assert list(parent.iterdir()) == []


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(parent: Path) -> None:
    killed, abandoned = holder()
    alive, kept = holder()
    try:
        (abandoned / "socket").touch()
        killed.kill()
        killed.communicate()
        assert abandoned.is_dir()
        fresh = parent / "harness-swarm-abcdefgh"  # another run is about to make its lock
        fresh.mkdir(mode=0o700)
        others = [parent / "harness-mine-abcdefgh", parent / "harness-swarm-notours.", parent / "else"]
        for other in others:
            other.mkdir(mode=0o700)
            (other / LOCK).touch()
        outside = parent / "outside"
        outside.mkdir()
        (outside / "precious").touch()
        (parent / "harness-swarm-linklink").symlink_to(outside)
        with PrivateFolder("swarm"):
            assert not abandoned.exists()
            assert kept.is_dir()
            assert fresh.is_dir()
            assert all(other.is_dir() for other in others)
            assert (outside / "precious").exists()
    finally:
        alive.kill()
        alive.communicate()
    assert remove_abandoned(parent) == [kept]


def test_a_folder_without_a_lock_is_removed_once_it_is_old(parent: Path) -> None:
    old = parent / "harness-runtime-abcdefgh"
    old.mkdir(mode=0o700)
    os.utime(old, (1, 1))
    assert remove_abandoned(parent) == [old]
    old.mkdir(mode=0o700)
    (old / "precious").touch()
    os.utime(old, (1, 1))
    assert remove_abandoned(parent) == []


@needs_root
def test_a_folder_of_another_user_or_open_to_others_stays(parent: Path) -> None:
    foreign, opened = parent / "harness-swarm-abcdefgh", parent / "harness-swarm-ijklmnop"
    for folder in (foreign, opened):
        folder.mkdir(mode=0o700)
        (folder / LOCK).touch()
    os.chown(foreign, NOBODY, NOBODY)
    opened.chmod(0o777)
    assert remove_abandoned(parent) == []


def test_a_long_temporary_folder_leaves_room_for_a_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with PrivateFolder("swarm") as folder:
        assert len(os.fsencode(folder.path / "control")) <= 107


# Every part of a run that makes a folder, as far as it goes without waiting.
PARTS = """
import os, sys
from pathlib import Path
from harness.experiment.broker import Broker, BrokerSetup
from harness.experiment.target_runtime import TargetRuntime, RuntimeSetup
from harness.swarm.launch import Swarm
from harness.swarm.setup import SwarmSetup
out = Path(sys.argv[1])
swarm = Swarm(SwarmSetup("http://127.0.0.1:1"), out)
swarm.launch()
runtime = TargetRuntime(RuntimeSetup("auto"))
runtime.environment([sys.executable], os.environ)
broker = Broker.start(BrokerSetup(), log=out / "broker.log", seed=1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_killed_run_leaves_no_folder_to_the_next_one(parent: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PARTS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        left = {path.name.split("-")[1] for path in parent.glob("harness-*")}
        assert left == {"swarm", "runtime", "broker"}
    finally:
        process.kill()
        process.communicate()
    with PrivateFolder("swarm") as folder:
        assert list(parent.iterdir()) == [folder.path]
    assert list(parent.iterdir()) == []
