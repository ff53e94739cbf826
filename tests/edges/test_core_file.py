"""A core file that a crash leaves: gdb reads the C stack of the thread that crashed."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from harness.target.dump import PATTERN, core_stack, newest_core, oom_kills

PROGRAM = "static int decode(int *frame) { return *frame; }\nint main(void) { return decode((int *)8); }\n"
NO_CORE = PATTERN.read_text().strip().startswith(("|", "/")) if PATTERN.exists() else True


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
@pytest.mark.skipif(NO_CORE, reason="core_pattern gives core files to the system")
def test_the_c_stack_of_a_core_file_begins_in_the_service(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-g", "-O0", "-o", "service", "main.c"], cwd=tmp_path, check=True, timeout=60)
    began = time.time() - 1
    limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    died = subprocess.run(
        ["./service"], cwd=tmp_path, check=False, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, limit),
    )  # fmt: skip
    assert died.returncode == -11
    stack = core_stack([tmp_path], since=began)
    assert stack[0].endswith("main.c:1 in decode"), stack
    assert stack[1].endswith("main.c:2 in main")
    assert "from " + str(tmp_path) in stack[-1]
    assert newest_core([tmp_path], since=time.time() + 60) is None  # one of an earlier crash


def test_other_files_than_core_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "core").write_text("notes about the core")
    assert newest_core([tmp_path], since=0.0) is None
    assert core_stack([tmp_path], since=0.0) == ()


def test_a_process_that_the_kernel_did_not_kill_has_no_message_of_it() -> None:
    assert oom_kills(2**30) == ()
