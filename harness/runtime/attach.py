"""Attaching to a running Python process: the interpreter itself loads the agent (PEP 768, CPython 3.14 and later).

``sys.remote_exec`` must be called by a Python of the same version, so the target's own executable is run for it.
Its main thread then loads the agent as soon as it runs Python code again. A thread that waits for a connection gets
one (``wake_up``); a thread that is blocked for ever never loads it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.core.errors import ConfigError
from harness.http.client import check_accepts
from harness.http.endpoint import Endpoint
from harness.http.route import Router
from harness.process.proc import executable, users
from harness.runtime import channel

TIMEOUT = 10.0  # seconds for an interpreter to start and to write to another process
SCRIPT = "attach-{pid}.py"
OLDER = 3  # exit code of ASK in a Python without sys.remote_exec
ASK = (
    "import sys\n"
    f"if not hasattr(sys, 'remote_exec'): sys.exit({OLDER})\n"
    "try: sys.remote_exec(int(sys.argv[1]), sys.argv[2])\n"
    "except Exception as error: sys.exit('%s: %s' % (type(error).__name__, error))\n"
)
# Runs inside the target, in the namespace of a module of its own: it must raise nothing there, and leave nothing behind
# but the agent.
LOAD = """import sys
sys.path.insert(0, {agent!r})
try:
    import harness_agent
    harness_agent.start({directory!r})
except Exception:
    pass
finally:
    sys.path.remove({agent!r})
"""


def attach(pid: int, directory: Path, agent: Path) -> str:
    """Make the Python ``pid`` load the agent in folder ``agent``, which then listens in ``directory``. Returns "" once
    the interpreter has accepted the script, else why it cannot be attached to. Raises ProbeError when ``directory`` is
    open to others."""
    reason = why_not_attachable(pid)
    if reason:
        return reason
    folder = channel.private_folder(directory).resolve()
    script = folder / SCRIPT.format(pid=pid)
    try:
        # The mode is set before anything is in it: the target's interpreter executes this file.
        script.touch(mode=0o600)
        script.write_text(LOAD.format(agent=str(agent.resolve()), directory=str(folder)))
        done = subprocess.run(
            # Through /proc/PID/exe, because the file at its path may have been replaced by an upgrade since the start.
            [f"/proc/{pid}/exe", "-I", "-S", "-c", ASK, str(pid), str(script)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except OSError as error:
        return f"cannot be attached to: {error.strerror}: {error.filename}"
    except subprocess.TimeoutExpired:
        return f"cannot be attached to: its interpreter did not start within {TIMEOUT:g} s"
    if done.returncode == OLDER:
        return "is older than Python 3.14, so it cannot be attached to"
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return f"cannot be attached to: {lines[-1][:200] if lines else f'exit code {done.returncode}'}"
    return ""


def detach(pid: int, directory: Path, *, loaded: bool) -> None:
    """Remove the script that ``attach`` left for the target. A target that has not ``loaded`` it yet may still do so,
    and would report a missing file on its standard error: it finds an empty one instead."""
    script = directory / SCRIPT.format(pid=pid)
    try:
        if loaded:
            script.unlink()
        else:
            script.write_text("")
    except OSError:
        pass


def wake_up(url: str) -> None:
    """Connect to the service and disconnect: an idle event loop runs no Python code until something happens."""
    try:
        check_accepts(Router(), Endpoint.parse(url))
    except (OSError, ConfigError):
        pass  # nothing accepts there, so the service must wake up by itself


def why_not_attachable(pid: int) -> str:
    """Why the process ``pid`` cannot be attached to; "" if it can. The harness runs the target's executable under its
    own user, so it must be one that this user might run anyway."""
    try:
        owners = users(pid)
        in_container = os.stat(f"/proc/{pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116
    except OSError as error:
        return f"cannot be attached to: {error.strerror}"
    if not owners:
        return "has exited"
    if owners != {os.geteuid()}:
        other = min(owners - {os.geteuid()})
        return f"belongs to user {other}, so it cannot be attached to; expected our own ({os.geteuid()})"
    if in_container:
        return "has a file system of its own (a container), so it cannot be attached to from here"
    if not executable(pid):
        return "has exited"
    return ""
