"""Load and leak-regression test harness for long-lived streaming services.

The names in ``harness.__all__``, ``harness.testing`` and ``harness.swarm`` are public. Everything else may change in
any release. No name is imported before it is used; ``__init__.pyi`` declares the types.
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

# Texts, not imports: the modules below this package import its version.
_HOMES = {
    "Bound": "harness.core.verdict",
    "Budget": "harness.core.budget",
    "ConfigError": "harness.core.errors",
    "Crash": "harness.core.verdict",
    "Exhaustion": "harness.core.verdict",
    "Finding": "harness.core.verdict",
    "HarnessError": "harness.core.errors",
    "Outcome": "harness.core.verdict",
    "Rate": "harness.core.verdict",
    "Verdict": "harness.core.verdict",
}
__all__ = [
    "Bound",
    "Budget",
    "ConfigError",
    "Crash",
    "Exhaustion",
    "Finding",
    "HarnessError",
    "Outcome",
    "Rate",
    "Verdict",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(_HOMES[name]), name)
    return value


# The source of a remote probe runs on Python 3.8, which evaluates annotations.
def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
