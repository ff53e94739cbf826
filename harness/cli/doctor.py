"""``harness doctor``: checks whether this machine can run the harness."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.text import Text

from harness.cli.console import console
from harness.cli.streams import safe_line
from harness.core.errors import EXIT_INFRASTRUCTURE
from harness.core.units import counted

WANTED_NOFILE = 4096  # descriptors: the generator needs one for each open stream
MIN_PORTS = 10_000  # local ports: a closed connection keeps its port for a minute (TIME_WAIT, tcp(7))
PACKAGES = ("locust", "gevent", "httptools", "pyzmq", "click", "rich", "cattrs", "jinja2")
REFERENCE = ("starlette", "uvicorn", "sse-starlette")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, whether it succeeded, what was found, and how to fix it."""

    name: str
    ok: bool
    seen: str
    fix: str = ""


def _kernel() -> Check:
    release = platform.release()
    parts = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if not sys.platform.startswith("linux"):
        return Check("kernel", False, f"{sys.platform}", "Linux is needed: the probe reads /proc")
    if parts < (6, 2):
        return Check("kernel", True, f"{release}: descriptors are counted by listing (slower below 6.2)")
    return Check("kernel", True, release)


def _python() -> Check:
    seen = platform.python_version()
    return Check("python", sys.version_info >= (3, 11), seen, "Python 3.11 or newer is needed")


def _proc() -> Check:
    try:
        # From Linux 6.2 on the size of this folder is the number of descriptors; before it is 0.
        count = os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208
        Path("/proc/self/smaps_rollup").read_text()
    except OSError as error:
        return Check("/proc", False, str(error), "mount it: mount -t proc proc /proc")
    return Check("/proc", True, f"readable ({counted(count, 'descriptor')} of this process)")


def _rights() -> Check:
    if os.geteuid() == 0:
        return Check("rights", True, "root: any process can be read")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    level = scope.read_text().strip() if scope.exists() else "0"
    # 1: a process may be read by its ancestors, which the harness is to each service that it starts.
    if level in ("0", "1"):
        return Check("rights", True, "services that the harness starts can be read in full")
    return Check("rights", False, f"ptrace_scope is {level}", "echo 1 > /proc/sys/kernel/yama/ptrace_scope")


def _nofile() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seen = f"soft {soft}, hard {hard}"
    fix = f"ulimit -n {WANTED_NOFILE}"
    if 0 <= hard < WANTED_NOFILE:
        fix = f"raise the hard limit to {WANTED_NOFILE}: limits.conf(5), LimitNOFILE of its unit, docker's --ulimit"
    return Check("ulimit -n", soft >= WANTED_NOFILE, seen, fix)


def _reference() -> Check:
    """The packages of the reference service. They are optional: without them any other service can be guarded."""
    found = _packages(REFERENCE, "reference service", "")
    if found.ok:
        return found
    wanted = "only harness reproduce needs it: pip install starlette uvicorn sse-starlette"
    return Check("reference service", True, f"{found.seen}; {wanted}")


def _packages(names: tuple[str, ...], label: str, fix: str) -> Check:
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check(label, False, f"missing: {', '.join(missing)}", fix)
    return Check(label, True, ", ".join(versions))


def _loopback() -> Check:
    try:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            with socket.create_connection(listener.getsockname(), timeout=2):
                return Check("loopback", True, "ports can be opened and reached")
    except OSError as error:
        return Check("loopback", False, str(error), "ip link set lo up")


def _ports() -> Check:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    low, high = (int(word) for word in path.read_text().split())
    return Check(
        "ephemeral ports", high - low > MIN_PORTS, f"{low}-{high}", "widen net.ipv4.ip_local_port_range"
    )


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0))
    return Check(
        "cores", True, str(cores) if cores > 1 else "1: the swarm and the service slow each other down"
    )


def _writable() -> Check:
    where = Path("reports") if Path("reports").is_dir() else Path()
    return Check("working folder", os.access(where, os.W_OK), str(where.resolve()), "use --out DIR")


def checks() -> Iterator[Check]:
    """Every check, in the order shown. A check that itself fails is a failed check."""
    wanted: tuple[Callable[[], Check], ...] = (
        _python,
        _kernel,
        _proc,
        _rights,
        _nofile,
        _cores,
        _loopback,
        _ports,
        _writable,
        lambda: _packages(PACKAGES, "packages", "pip install PATH of a clone of this project"),
        _reference,
    )
    for check in wanted:
        try:
            yield check()
        except (OSError, ValueError) as error:
            name = getattr(check, "__name__", "check").strip("_")
            yield Check(name, False, str(error), "see the message")


@click.command("doctor", short_help="check whether this machine can run the harness")
def command() -> None:
    """Check whether this machine can run the harness: each line is ok, or has the fix for a problem.

    Exit code 0 when every check succeeds, 4 when something is missing.
    """
    bad = 0
    out = console()
    for check in checks():
        bad += not check.ok
        mark = Text("ok   ", style="green") if check.ok else Text("FIX  ", style="red")
        seen = f"{check.name:18} {check.seen}" + (f"  →  {check.fix}" if not check.ok else "")
        out.print(mark.append(safe_line(seen), style="default"), soft_wrap=True)
    if bad:
        out.print(f"{bad} to fix")
        raise click.exceptions.Exit(EXIT_INFRASTRUCTURE)
    out.print("all checks passed; next: harness guard --help", markup=False)
