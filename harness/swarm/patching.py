"""How a process of the swarm begins: gevent's monkey patching before it imports anything else, and no collection of
garbage until everything is imported.

gevent asks for plug-ins before and after each part that it patches. Each time the metadata of all installed packages is
read, 25 times in all: two thirds of the time that patching took. Here it is read once. The collector looked at what was
imported again and again, a fifth of the time that the imports took. ``locust.web`` imports Flask, a fifth of what is
left; only a web UI needs it.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import sys
from types import ModuleType
from typing import Any

import gevent.monkey

WEB = "locust.web"


class _LazyWebModule(ModuleType):
    """``locust.web``, not imported until something in it is used. ``locust.env`` takes ``WebUI`` from it."""

    @staticmethod
    def WebUI(*args: Any, **options: Any) -> Any:  # noqa: N802 - Locust's name
        """Locust's web UI."""
        return web_module().WebUI(*args, **options)

    def __getattr__(self, name: str) -> Any:
        # The import system asks for such names, which must not import the module.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(web_module(), name)


def web_module() -> Any:
    """The real ``locust.web``, where its users look for it."""
    if isinstance(sys.modules.get(WEB), _LazyWebModule):
        del sys.modules[WEB]
        module: Any = importlib.import_module(WEB)
        # locust.env took the name from the module that stood in for it, when it was imported.
        importlib.import_module("locust.env").WebUI = module.WebUI  # type: ignore[attr-defined]
    return importlib.import_module(WEB)


def patch_before_imports() -> None:
    """``gevent.monkey.patch_all()``, with the same plug-ins; call ``finish_imports`` after the imports."""
    sys.modules.setdefault(WEB, _LazyWebModule(WEB))
    gc.disable()
    read = importlib.metadata.entry_points
    # ``read()`` has the entry points of all packages, and its ``select`` answers like ``entry_points`` itself.
    importlib.metadata.entry_points = read().select
    try:
        gevent.monkey.patch_all()
    finally:
        importlib.metadata.entry_points = read


def finish_imports() -> None:
    """Collect garbage from now on, and leave out everything that was imported, because it stays for the life of the
    process."""
    gc.freeze()
    gc.enable()
