"""The logs of a run: those of an earlier process of the service are set aside, never written over."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from pathlib import Path

from harness.store.write import failure


def set_aside(folder: Path, names: Iterable[str]) -> None:
    """Rename ``target.log`` to ``target.1.log``, the first number that is free. Raises StoreError."""
    for name in names:
        path = folder / name
        if not path.exists():
            continue
        for number in count(1):
            other = path.with_name(f"{path.stem}.{number}{path.suffix}")
            if not other.exists():
                break
        try:
            path.rename(other)
        except OSError as error:
            raise failure("rename", path, error) from None
