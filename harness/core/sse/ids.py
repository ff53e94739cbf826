"""Whether the numeric ids of a stream follow one another."""

from __future__ import annotations

DIGITS = 18
"""Digits of the longest id that is compared as a number; a longer one is not a counter."""


class IdSequence:
    """Counts events whose id is not one more than the one before.

    missed: numbers that were skipped, each once. repeated: ids equal to the one before. disordered: ids below the one
    before. Ids that are not whole numbers are not compared.
    """

    __slots__ = ("_behind", "_highest", "disordered", "missed", "repeated")

    def __init__(self) -> None:
        self.missed = self.repeated = self.disordered = 0
        self._highest = -1
        self._behind: int | None = None  # the last number, while it is below the highest

    def check(self, text: str) -> None:
        """Compare the id that an event brought with the one before."""
        # Nearly every id is the one expected, and to write that number costs less than to check and read this text.
        following = self._highest + 1
        if text == str(following) and self._behind is None:
            self._highest = following
        elif text.isascii() and text.isdigit() and len(text) <= DIGITS:
            self._compare(int(text))

    def _compare(self, value: int) -> None:
        if self._highest >= 0:
            previous = self._highest if self._behind is None else self._behind
            if value == previous:
                self.repeated += 1
            elif value < previous:
                self.disordered += 1
            else:
                # Numbers up to the highest were counted as missed when the highest came.
                self.missed += max(0, value - self._highest - 1)
        self._behind = value if value < self._highest else None
        self._highest = max(self._highest, value)
