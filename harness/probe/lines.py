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

PROTOCOL = 1  # the version in the first line
MAX_EVENTS = 20  # of one sample
MAX_TEXT = 500  # characters of an event or of a gap's reason
MAX_LINE = 4 << 20  # bytes of one line: a census of a very large tree is below 100 kB


def hello(pid: int, interval: float, *, started: int = 0, orders: bool = False) -> str:
    """The first line: the protocol and the process. started: the target's start time in clock ticks, which together
    with ``boot`` and ``pid`` identifies it uniquely. orders: whether the probe reads orders from its standard input.
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
    """One sample. Unknown values are left out, and a gap has its reason."""
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
            f"the remote probe printed {shown!r}; expected a JSON line as `harness probe` prints them"
        )
    return data


def check_hello(data: Mapping[str, Any]) -> None:
    """Raise ProbeError unless the remote probe uses this protocol and identifies the process."""
    if data.get("probe") != PROTOCOL:
        raise ProbeError(
            f"the remote probe uses protocol {data.get('probe')!r} (version {data.get('version')!r}); expected "
            f"{PROTOCOL}: use the same version there, or the file that `harness probe --emit-script` prints"
        )
    for name in ("pid", "interval", "started"):
        if not _is_number(data.get(name)):
            raise _damaged("first line", f"{name} is {data.get(name)!r}")


def _is_number(value: object) -> bool:
    """Whether it is a number in JSON's sense: no bool, and no NaN, Infinity or huge integer, which Python's reader
    accepts."""
    # A tuple, because Python 3.8, with which the remote probe must work, knows no unions here.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


_MAX_NUMBER = 1 << 63  # beyond any count, size or time of a process


def _damaged(what: str, why: object) -> ProbeError:
    return ProbeError(
        f"the remote probe sent a damaged {what} ({str(why)[:100]}); expected the same version there"
    )


def at_of(data: Mapping[str, Any]) -> float:
    """The time of a sample, by the remote clock. Raises ProbeError."""
    at = data.get("at", 0.0)
    if not _is_number(at):
        raise _damaged("sample", f"at is {at!r}")
    return float(at)


def sample_of(data: Mapping[str, Any], at: float) -> Sample:
    """A sample from its line, with the local time ``at``. Unknown keys are ignored.

    Raises ProbeError when it is damaged.
    """
    # Everything in a line comes from another machine, so each value is checked before it is used.
    names = {field.name for field in fields(Sample)} - {"at", "per_process", "events"}
    try:
        values = {name: data[name] for name in names if name in data}
        for name, value in values.items():
            if not (isinstance(value, str) if name == "gap" else _is_number(value)):
                raise TypeError(f"{name} is {value!r}")
        if "gap" in values:
            values["gap"] = values["gap"][:MAX_TEXT]
        return Sample(
            at=at,
            per_process=tuple(_process(each) for each in data.get("per_process", ())),
            # A run keeps thousands of samples, so the texts in each are limited.
            events=tuple(str(event)[:MAX_TEXT] for event in list(data.get("events", ()))[:MAX_EVENTS]),
            **values,
        )
    except (TypeError, ValueError) as error:
        raise _damaged("sample", error) from None


def _process(data: Mapping[str, Any]) -> ProcessSample:
    for name, value in data.items() if isinstance(data, dict) else ():
        if name != "name" and value is not None and not isinstance(value, bool) and not _is_number(value):
            raise TypeError(f"{name} is {value!r}")
    return ProcessSample(**data)


def census_of(data: Mapping[str, Any], at: float) -> Census:
    """A census from the value of its line. Raises ProbeError when it is damaged."""
    names = {field.name for field in fields(Census)} - {"at", "examples", "unreadable"}
    try:
        values = {name: data[name] for name in names if name in data}
        for name, value in values.items():
            numbers = value.values() if name in _COUNTS else () if value is None else (value,)
            if not all(map(_is_number, numbers)):
                raise TypeError(f"{name} is {value!r}")
        return Census(
            at=at,
            examples={str(kind): tuple(map(str, kept)) for kind, kept in data.get("examples", {}).items()},
            unreadable=tuple(map(str, data.get("unreadable", ()))),
            **values,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise _damaged("census", error) from None


_COUNTS = frozenset({"fds", "sockets", "threads", "mappings", "memory", "per_process"})


def limits_of(data: object) -> dict[str, float]:
    """Ceilings from the value of their line. Raises ProbeError when they are damaged."""
    if not isinstance(data, dict) or not all(map(_is_number, data.values())):
        raise _damaged("answer to limits", repr(data))
    return {str(name): float(value) for name, value in data.items()}
