"""The entry point of the pytest plugin. It stands beside the package ``harness``, not in it.

pytest imports its entry points at startup. A project may have a module named ``harness`` of its own, and its tests must
keep working. So the hooks are loaded from their file, and the package is imported only when a fixture needs it.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location(__name__, Path(__file__).with_name("harness") / "pytest_plugin.py")
if _spec is None or _spec.loader is None:
    raise ImportError("sse-leak-harness is incomplete: install it again")
_hooks = module_from_spec(_spec)
sys.modules[__name__] = _hooks  # what pytest registers
_spec.loader.exec_module(_hooks)
