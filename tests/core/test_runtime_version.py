"""The files that name a runtime's version may hold anything, because other programs write them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.runtime import version
from harness.runtime.detect import Choice


@pytest.mark.parametrize(
    ("runtime", "file", "text"),
    [
        ("jvm", "release", 'JAVA_VERSION="17.0.2"'),
        (
            "node",
            "include/node/node_version.h",
            "#define NODE_MAJOR_VERSION 17\n#define NODE_MINOR_VERSION 0\n#define NODE_PATCH_VERSION 2\n",
        ),
    ],
)
def test_a_file_that_names_the_version_may_be_anything(
    runtime: str, file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "executable", lambda _: str(tmp_path / "bin" / "it"))
    path, choice = tmp_path / file, Choice(runtime, "", 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert version.runtime_version(choice) == "17.0.2"
    path.write_bytes(b"\xff" + text.encode())
    assert version.runtime_version(choice) == "17.0.2"
    with path.open("wb") as huge:
        huge.truncate(8 << 30)  # sparse: it takes no room
    began = time.monotonic()
    assert version.runtime_version(choice) == ""
    path.unlink()
    assert version.runtime_version(choice) == ""
    os.mkfifo(path)
    assert version.runtime_version(choice) == ""
    assert time.monotonic() - began < 60
    monkeypatch.setattr(version, "executable", lambda _: None)  # it has ended
    assert version.runtime_version(choice) == ""
