"""The option ``expect``: statuses such as ``503``, and classes of them such as ``4xx``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.core.errors import OptionError

_STATUS = re.compile(r"([2-5])(\d\d|[xX][xX])")
ANY_STATUS = frozenset(range(200, 600))  # what an invalid request may get: 1xx are no final responses


def statuses(texts: Iterable[str]) -> frozenset[int] | None:
    """The statuses that the option ``expect`` names; None if it names none. Raises OptionError."""
    found: set[int] = set()
    for text in texts:
        match = _STATUS.fullmatch(text)
        if match is None:
            raise OptionError(
                "expect", text, "expected a status from 200 to 599 such as 503, or a class such as 4xx"
            )
        first = 100 * int(match[1])
        found |= set(range(first, first + 100)) if match[2].lower() == "xx" else {first + int(match[2])}
    return frozenset(found) or None
