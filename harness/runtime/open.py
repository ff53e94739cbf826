"""From a target to its reader: the environment before the start, the reader after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.core.errors import ProbeError
from harness.process.proc import owner
from harness.runtime import detect
from harness.runtime.channel import default_directory
from harness.runtime.counters import RuntimeReader, Unavailable
from harness.runtime.detect import Choice


def prepare_env(choice: Choice, env: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment for a target that will be spawned.

    A command whose runtime is not known yet, such as a shell script, gets the variables of every agent: a runtime loads
    only its own. Raises ProbeError when ``directory`` is open to others.
    """
    prepared = dict(env)
    # A reader is imported only for its own runtime, because a service has one runtime.
    if choice.runtime in (detect.PYTHON, detect.UNKNOWN):
        from harness.runtime import python

        prepared = python.prepare_env(prepared, directory)
    if choice.runtime in (detect.NODE, detect.UNKNOWN):
        from harness.runtime import node

        prepared = node.prepare_env(prepared, directory)
    return prepared


def open_reader(
    choice: Choice, pid: int, *, directory: Path, url: str | None = None
) -> RuntimeReader | Unavailable:
    """The reader for a running target; ``choice`` comes from ``choose(pid, override)``.

    directory: where agents listen. url: of the pprof pages, or of the service.
    """
    shared = directory == default_directory(owner(choice.pid or pid))
    # Only the reader that is needed is imported: no guard waits for the imports of the others.
    if choice.runtime == detect.PYTHON:
        from harness.runtime import python

        return python.PythonCounters(directory, pid, shared=shared, url=url)
    if choice.runtime == detect.NODE:
        from harness.runtime import node

        return node.NodeCounters(directory, choice.pid or pid if shared else pid, shared=shared)
    if choice.runtime == detect.JVM:
        from harness.runtime import jvm

        return jvm.JvmCounters(pid)
    if choice.runtime == detect.GO:
        if not url:
            return Unavailable("the address of the pprof pages is not known; pass --pprof URL")
        from harness.runtime import go

        try:
            return go.GoCounters(pid, url)
        except ProbeError as error:
            return Unavailable(str(error))
    return Unavailable(f"{choice.reason}, so it is measured from outside alone", unknown_runtime=True)
