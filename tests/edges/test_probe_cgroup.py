"""The limits of a container, as its control group really sets them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.probe.limits import cgroup_limits, limits
from tests.edges.probe_target import ScriptedProcess


def mounted(kind: str, controller: str) -> Path | None:
    """Where a hierarchy with this controller is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        dash = fields.index("-")
        point = Path(fields[4])
        if fields[dash + 1] != kind:
            continue
        if kind == "cgroup" and controller in fields[dash + 3].split(","):
            return point
        if kind == "cgroup2" and controller in (point / "cgroup.controllers").read_text().split():
            return point
    return None


@pytest.fixture
def group() -> Iterator[Path]:
    """A new control group below that of this process, of the version that has the pids controller."""
    root = mounted("cgroup2", "pids") or mounted("cgroup", "pids")
    if os.geteuid() != 0 or root is None:
        pytest.skip("needs root and a pids controller")
    made = root / f"probe-test-{os.getpid()}"
    inner = made / "inner"
    made.mkdir()
    try:
        if version_2(made):  # a group has the controllers that the one above it passes on (cgroups(7))
            for above in (root, made):
                (above / "cgroup.subtree_control").write_text("+pids +memory")
        inner.mkdir()
        yield made
    finally:
        if inner.exists():
            inner.rmdir()
        made.rmdir()


def version_2(group: Path) -> bool:
    return (group / "cgroup.controllers").exists()


def test_the_lowest_limit_of_a_group_and_those_above_it(group: Path) -> None:
    with ScriptedProcess() as scripted:
        assert cgroup_limits(scripted.pid).get("pids.max") != 123
        (group / "inner" / "cgroup.procs").write_text(str(scripted.pid))
        (group / "pids.max").write_text("123")
        assert cgroup_limits(scripted.pid)["pids.max"] == 123
        (group / "inner" / "pids.max").write_text("45")
        assert limits(scripted.pid)["pids.max"] == 45
        (group / "inner" / "pids.max").write_text("max")
        assert limits(scripted.pid)["pids.max"] == 123
        if version_2(group):  # version 1 has memory in a hierarchy of its own
            before = limits(scripted.pid).get("memory.max")
            (group / "inner" / "memory.max").write_text(str(512 << 20))
            assert limits(scripted.pid)["memory.max"] == 512 << 20
            (group / "memory.max").write_text(str(256 << 20))
            assert limits(scripted.pid)["memory.max"] == 256 << 20
            for each in (group, group / "inner"):
                (each / "memory.max").write_text("max")
            assert limits(scripted.pid).get("memory.max") == before
        # It is the real ceiling: the service reaches it.
        (group / "inner" / "pids.max").write_text("3")
        assert scripted.run(
            "import threading; never = threading.Event(); started = 0\n"
            "try:\n"
            "    while started < 9: threading.Thread(target=never.wait, daemon=True).start(); started += 1\n"
            "except RuntimeError: pass\n"
            "answer = started"
        ) == 2  # fmt: skip


def test_files_of_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of a version 2 hierarchy (cgroups(7)) in a folder: a kernel that gives its controllers to
    version 1 has no such files to read."""
    from harness.probe import limits as module

    inner = tmp_path / "system.slice" / "docker-1.scope"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("67108864\n")
    (inner / "pids.max").write_text("max\n")
    (inner.parent / "pids.max").write_text("500\n")
    (inner.parent / "memory.max").write_text("max\n")
    monkeypatch.setattr(module, "_mounts", lambda: {"": (str(tmp_path), "/")})
    monkeypatch.setattr(module, "_groups", lambda pid: [([], "/system.slice/docker-1.scope")])
    assert cgroup_limits(1) == {"pids.max": 500.0, "memory.max": 67108864.0}
    monkeypatch.setattr(module, "_groups", lambda pid: [([], "/../elsewhere")])
    assert cgroup_limits(1) == {}


def test_an_exited_process_has_no_limits() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert cgroup_limits(child.pid) == {}
