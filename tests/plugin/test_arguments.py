"""The arguments of ``guard``: each mistake is one error that names the value and what was expected."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import ConfigError, StoreError
from harness.plugin.arguments import KINDS, SET_BY_GUARD, TYPES, command_arguments, convert
from harness.plugin.guarding import Guard


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"command": [sys.executable, 8000]},
            "8000]): expected a list of arguments, each a string or a path",
        ),
        ({"command": b"app"}, "guard(command=b'app'): expected a list of arguments"),
        ({"command": []}, "guard(command=[]): expected the program that starts the service"),
        ({"url": None}, "guard(url=None): expected a string such as 'http://127.0.0.1:{port}/events'"),
        ({"url": []}, "guard(url=[]): expected a string"),
        ({"pid": "12"}, "guard(pid='12'): expected a whole number"),
        ({"budget": "0/connection"}, "guard(budget='0/connection'): expected a mapping"),
        ({"headers": "X: 1"}, "guard(headers='X: 1'): expected a mapping of strings to strings"),
        ({"env": {"PORT": 1}}, "guard(env={'PORT': 1}): expected a mapping of strings to strings"),
        ({"body": 5}, "guard(body=5): expected bytes"),
        ({"mode": "requests"}, "guard(mode='requests'): expected stream or request"),
        ({"ready": 5}, "guard(ready=5): expected a string"),
        ({"out": 5}, "guard(out=5): expected a path"),
        ({"keep_alive": "no"}, "guard(keep_alive='no'): expected True or False"),
        ({"nofile": 1.5}, "guard(nofile=1.5): expected a whole number"),
        ({"source_addresses": "127.0.0.2"}, "expected a list of strings"),
        (
            {"expect": "teapot"},
            "expect='teapot': expected a status from 200 to 599 such as 503, or a class",
        ),
        ({"invalid_share": 1.5}, "invalid_share=1.5: expected a share from 0 to below 1"),
        ({"clients": -1}, "clients=-1: expected at least 0"),
        ({"clients": (1 << 53) + 1}, f"clients={(1 << 53) + 1}: expected at most {1 << 53}"),
        ({"connections": 10**20}, f"connections={10**20}: expected at most 10000000"),
        ({"concurrency": 10**20}, f"concurrency={10**20}: expected at most 1000000"),
        ({"events": 10**7 + 1}, "events=10000001: expected at most 10000000"),
        ({"cycles": 2}, "cycles=2: expected at least 3"),
        ({"processes": 65}, "processes=65: expected at most 64"),
        ({"seed": -(10**30)}, f"seed=-{10**30}: expected at least -{1 << 53}"),
        ({"dwell": 86401.0}, "dwell=86401.0: expected a time from 0.001s to 24h"),
        ({"dwell": float("nan")}, "dwell=nan: expected a time from 0.001s to 24h"),
        ({"stall_after": "0.5ms"}, "stall_after=0.0005: expected a time from 0.001s to 24h"),
        ({"hold": "25h"}, "hold=90000.0: expected a time from 0s to 24h"),
        ({"budget_notes": ("x",)}, "guard(budget_notes=…): no such argument"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_error(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    call = {"url": "http://127.0.0.1:{port}/", "command": [sys.executable], **given}
    with pytest.raises(ConfigError, match=re.escape(said)):
        Guard(name="x", where="test_x", root=tmp_path, out=tmp_path / "out")(**call)
    assert not (tmp_path / "out").exists(), "nothing was started"


def test_paths_texts_and_lists_are_converted() -> None:
    assert command_arguments([Path("bin/app"), "--port"]) == ["bin/app", "--port"]
    assert convert("body", "{}") == b"{}"
    assert convert("cwd", "there") == Path("there")
    assert convert("source_addresses", ["127.0.0.2"]) == ("127.0.0.2",)
    assert convert("expect", "503") == convert("expect", 503) == convert("expect", [503]) == ("503",)
    assert convert("expect", ["4xx", 503]) == ("4xx", "503")
    assert convert("hold", "10s") == 10.0
    assert (convert("nofile", None), convert("stall_after", "2s"), convert("sensitivity", "1/4")) == (
        None,
        2,
        0.25,
    )


def test_every_argument_has_a_kind() -> None:
    own = {"command", "budget", *SET_BY_GUARD}  # read by themselves
    for name, kind in TYPES.items():
        assert name in own or kind.partition(" | ")[0] in KINDS, name


def test_a_lock_that_is_no_file_of_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock = tmp_path / f"harness-guard-{os.getuid()}.lock"
    lock.symlink_to(tmp_path / "elsewhere")
    guard = Guard(name="x", where="test_x", root=tmp_path, out=tmp_path / "out")
    with pytest.raises(
        StoreError,
        match=r"guards run one at a time, and their lock .*lock cannot be used: .*; remove it, or set TMPDIR",
    ):
        guard(url="http://127.0.0.1:{port}/", command=[sys.executable])
    assert not (tmp_path / "elsewhere").exists()
