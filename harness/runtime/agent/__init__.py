"""``import harness.runtime.agent`` in a service that the harness does not start: the agent answers from then on.

Where: in the folder that HARNESS_RUNTIME_DIRECTORY names, else in ``/tmp/harness-runtime-UID``. It is made with
mode 0700; one that is open to others is not used, and then nothing is started. Standard library only, CPython 3.8
and later; nothing of the harness is imported.
"""

from __future__ import annotations

import os
import stat
import sys

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python")


def start(directory: str | None = None) -> bool:
    """Start answering; False when the agent runs already or the folder is not private."""
    folder = directory or os.environ.get("HARNESS_RUNTIME_DIRECTORY") or default_directory()
    try:
        os.makedirs(folder, mode=0o700)
    except FileExistsError:
        pass
    status = os.lstat(folder)  # not a symbolic link, which another user may have made
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        return False
    sys.path.insert(0, _HERE)
    try:
        import harness_agent  # type: ignore[import-not-found]

        return bool(harness_agent.start(os.path.realpath(folder)))
    finally:
        sys.path.remove(_HERE)


def default_directory() -> str:
    """Where a service that the harness did not start is looked for."""
    return "/tmp/harness-runtime-%d" % os.geteuid()  # noqa: S108, UP031 - private by mode and owner


try:
    start()
except OSError:
    pass  # the service must run, with or without us
