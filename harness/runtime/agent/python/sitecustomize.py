"""Starts the agent in a Python process that the harness spawned, then makes way.

Its folder is first on PYTHONPATH; the interpreter imports it at startup (site module). Whatever happens here
must leave no trace in the target: the folder leaves ``sys.path``, and the next ``sitecustomize`` on the path
runs in this one's place. When there is none, the ImportError is the same that the interpreter would have met
without us, and it ignores it the same way. Kept to syntax that any Python can read, because a child of the
target may be an older one.
"""

import sys

_here = __file__.rpartition("/")[0]

if sys.version_info >= (3, 8) and sys.implementation.name == "cpython":
    try:
        import harness_agent

        harness_agent.start_from_environment()
    except Exception:  # the target must start, with or without us
        pass

sys.path[:] = [entry for entry in sys.path if entry.rstrip("/") != _here]
sys.path_importer_cache.pop(_here, None)
sys.modules.pop("sitecustomize", None)

import sitecustomize  # noqa: E402, F401 - the next one on the path, or the ImportError expected by site
