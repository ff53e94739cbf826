"""The swarm sets the option for the whole range of ports if the kernel has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: the file is the module's.
ASK = """
import sys
from pathlib import Path
from harness.swarm import ports
ports.RANGE = Path(sys.argv[1])
print(ports.all_ports())
"""


@pytest.mark.parametrize("text", [None, "a b"])
def test_an_unknown_port_range_is_no_reading(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "range"
    if text is not None:
        path.write_text(text)
    assert ask(path) == "None"


def test_the_option_carries_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "range"
    path.write_text("32768\t60999\n")
    # Kernels before Linux 6.3 return None.
    assert ask(path) in (
        repr((32768 | 60999 << 16).to_bytes(4, sys.byteorder)),
        "None",
    )


def ask(path: Path) -> str:
    argv = [sys.executable, "-c", ASK, str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
