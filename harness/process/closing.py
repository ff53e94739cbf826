"""Context managers that close what they opened at the end of their block."""

from __future__ import annotations

from typing import Self


class Closing:
    """A context manager for a class whose ``close`` is all that the end of a block needs."""

    def close(self) -> None:
        """Close it. Idempotent."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
