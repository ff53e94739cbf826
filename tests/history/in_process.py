"""The command line in the process of the test, because the imports of a database take most of a second."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from pathlib import Path
from unittest.mock import patch

import pytest

from harness.cli import main


def harness_here(cwd: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """``harness WORDS`` in a folder, with the history that it has by default: its exit code and what it printed."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd))
        stack.enter_context(patch.dict(os.environ, HARNESS_HISTORY=""))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        ended = stack.enter_context(pytest.raises(SystemExit))
        main(list(map(str, words)))
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.read(), err.read())
