"""Broker misbehaviour, one fault per module. A new fault is one new module here; nothing else needs an edit."""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
