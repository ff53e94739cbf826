"""Readings as JSON lines: what ``harness probe`` prints and a run on another machine reads."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from harness import __version__
from harness.core.errors import ProbeError
from harness.core.sample import Census, ProcessSample, Sample

PROTOCOL = 1
LONGEST = 4 << 20  # bytes of one line: a census of a very large tree is below 100 kB


def hello(pid: int, interval: float, *, started: int = 0, orders: bool = False) -> str:
    """The first line: what speaks, and of whom.

    started: the target's start time in clock ticks, which with ``boot`` and ``pid`` names it for ever.
    orders: whether it reads orders from its standard input.
    """
    return json.dumps(
        {
            "probe": PROTOCOL,
            "version": __version__,
            "pid": pid,
            "interval": interval,
            "started": started,
            "boot": _boot_id(),
            "host": socket.gethostname(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "uid": os.geteuid(),
            "orders": orders,
        }
    )


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def sample_line(sample: Sample) -> str:
    """One sample; absent values are absent, a gap is named."""
    return json.dumps({key: value for key, value in asdict(sample).items() if value not in (None, ())})


def census_line(census: Census) -> str:
    """One census, under the key ``census``."""
    return json.dumps({"census": asdict(census)})


def parse(line: bytes) -> Mapping[str, Any]:
    """One line as an object. Raises ProbeError for anything else."""
    try:
        data = json.loads(line)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        shown = "".join(c if c.isprintable() else " " for c in line[:80].decode(errors="replace"))
        raise ProbeError(
            f"the remote probe said {shown!r}; expected a JSON line as `harness probe` prints them"
        )
    return data


def check_hello(data: Mapping[str, Any]) -> None:
    """Raises ProbeError unless the far side speaks our protocol."""
    if data.get("probe") != PROTOCOL:
        raise ProbeError(
            f"the remote probe speaks protocol {data.get('probe')!r} (version {data.get('version')!r}); expected "
            f"{PROTOCOL}: use the same version there, or the file that `harness probe --emit-script` prints"
        )


def sample_of(data: Mapping[str, Any], at: float) -> Sample:
    """A sample from its line, placed at ``at`` of our clock. Unknown keys are passed over.

    Raises ProbeError when it is damaged.
    """
    names = {field.name for field in fields(Sample)} - {"at", "per_process", "events"}
    try:
        values = {name: data[name] for name in names if name in data}
        if not all(isinstance(value, (int, float, str)) for value in values.values()):
            raise TypeError("a value of another type")
        return Sample(
            at=at,
            per_process=tuple(ProcessSample(**each) for each in data.get("per_process", ())),
            events=tuple(map(str, data.get("events", ()))),
            **values,
        )
    except (TypeError, ValueError) as error:
        raise ProbeError(
            f"the remote probe sent a damaged sample ({error}); expected the same version there"
        ) from None


def census_of(data: Mapping[str, Any], at: float) -> Census:
    """A census from the value of its line. Raises ProbeError when it is damaged."""
    names = {field.name for field in fields(Census)} - {"at", "examples", "unreadable"}
    try:
        return Census(
            at=at,
            examples={str(kind): tuple(kept) for kind, kept in data.get("examples", {}).items()},
            unreadable=tuple(map(str, data.get("unreadable", ()))),
            **{name: data[name] for name in names if name in data},
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ProbeError(
            f"the remote probe sent a damaged census ({error}); expected the same version there"
        ) from None
