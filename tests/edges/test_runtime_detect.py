"""Which runtime a target is, from its command and from its process."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from harness.core.errors import ConfigError
from harness.process import proc
from harness.process.child import Child
from harness.runtime.detect import GO, GO_MAGIC, JVM, NATIVE, NODE, PYTHON, UNKNOWN, choose, is_go
from tests.edges.servers.clients import wait_for


@pytest.mark.parametrize(
    ("command", "runtime"),
    [
        (("python3", "app.py"), PYTHON),
        ((sys.executable, "app.py"), PYTHON),
        (("/opt/python/bin/python3.13t", "-m", "app"), PYTHON),
        (("env", "-i", "A=b", "python", "app.py"), PYTHON),
        (("timeout", "-k", "1", "5", "nice", "-n", "5", "node", "server.js"), NODE),
        (("java", "-jar", "app.jar"), JVM),
        (("bash", "-c", "python app.py"), UNKNOWN),
        (("/nowhere/at/all",), UNKNOWN),
        ((), UNKNOWN),
    ],
)
def test_the_runtime_is_recognised_from_the_command(command: tuple[str, ...], runtime: str) -> None:
    assert choose(command).runtime == runtime


def test_a_script_is_identified_by_its_first_line(tmp_path: Path) -> None:
    script = tmp_path / "serve"
    script.write_text(f"#!/usr/bin/env -S {sys.executable} -u\nprint(1)\n")
    assert choose((str(script),)).runtime == PYTHON


def test_go_is_known_by_its_build_information(tmp_path: Path) -> None:
    binary = tmp_path / "server"
    binary.write_bytes(b"\x7fELF" + bytes(4096) + GO_MAGIC)
    assert is_go(binary)
    assert choose((str(binary),)).runtime == GO
    binary.write_bytes(b"\x7fELF" + bytes(4096))
    assert not is_go(binary)


def test_from_the_process_even_behind_a_shell(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'import time; time.sleep(60)'; true"
    with Child.spawn(["sh", "-c", command], log=tmp_path / "log", name="sh") as child:
        wait_for(lambda: choose(child.pid).runtime == PYTHON, "the Python below the shell")
        assert choose(child.pid).pid != child.pid
        assert choose(child.pid, "none").runtime == "none"
        assert choose(child.pid, "node").runtime == NODE


def test_what_is_none_of_them_is_native(tmp_path: Path) -> None:
    with Child.spawn([shutil.which("sleep") or "sleep", "60"], log=tmp_path / "log", name="sleep") as child:
        found = choose(child.pid)
        assert found.runtime == NATIVE
        assert "no known runtime" in found.reason


@pytest.mark.parametrize(
    ("name", "appended", "language"),
    [
        ("ruby3.1", b"", "ruby"),
        ("php", b"", "php"),
        ("php-fpm8.2", b"", "php"),
        ("server", b"/rustc/0123456789abcdef/library/core/src/option.rs", "rust"),
        ("server", b"", "native"),
    ],
)
def test_a_service_without_counters_has_a_language_all_the_same(
    name: str, appended: bytes, language: str, tmp_path: Path
) -> None:
    """Of any process of the tree: a shell script starts nginx and php-fpm."""
    program = tmp_path / name
    program.write_bytes(Path(shutil.which("sleep") or "sleep").read_bytes() + appended)
    program.chmod(0o700)
    with Child.spawn(["sh", "-c", f"{program} 60; true"], log=tmp_path / "log", name="sh") as child:
        wait_for(lambda: len(proc.tree(child.pid)) == 2, "the program below the shell")
        wait_for(lambda: proc.executable(proc.tree(child.pid)[1]) == str(program), "its exec")
        found = choose(child.pid)
    assert found.runtime == NATIVE
    assert found.language == language


def test_an_override_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of auto, none, python"):
        choose(os.getpid(), "ruby")


def test_the_tree_is_the_same_on_a_kernel_without_lists_of_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Child.spawn(
        ["sh", "-c", "sleep 60 & sh -c 'sleep 60; true'; true"], log=tmp_path / "log", name="sh"
    ) as child:
        wait_for(lambda: len(proc.tree(child.pid)) == 4, "two sleeps and a shell")
        found = proc.tree(child.pid)
        monkeypatch.setattr(proc, "CHILDREN", tmp_path / "children")
        without = proc.tree(child.pid)
        assert without[0] == child.pid
        assert sorted(without) == sorted(found)
