"""Text that a service, a file or a user gave, made harmless for people's eyes and terminals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# ECMA-48: CSI … final byte; OSC, DCS, SOS, PM and APC … up to BEL or ST; two-byte escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
LONGEST_LINE = 400
# Cc control, Cf format (the bidirectional overrides are here), Cs lone surrogate, Co private, Cn unassigned,
# Zl and Zp line separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: object, *, longest: int = LONGEST_LINE) -> str:
    """One line: no escape sequences, no control, format or unassigned characters; cut at ``longest``."""
    seen = _ESCAPES.sub("", str(text)[: longest * 4]).expandtabs(4)
    clean = "".join(" " if unicodedata.category(char) in _UNSEEN else char for char in seen)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def excerpt(lines: Sequence[str], *, marked: str | None, most: int) -> list[tuple[str, bool]]:
    """At most ``most`` lines of a log's end, cleaned, each with whether it is the marked one. When the
    marked line lies before the end, the excerpt is the lines around it and the last few."""
    rows = [(plain(line), marked is not None and line.strip() == marked) for line in lines]
    if len(rows) <= most:
        return rows
    at = next((index for index, row in enumerate(rows) if row[1]), None)
    if at is None or at >= len(rows) - most:
        return [("…", False), *rows[-(most - 1) :]]
    half = most // 2
    first = max(0, at - half // 2)
    head, tail = rows[first : first + half], rows[-(most - half - 2) :]
    return [*([("…", False)] if first else []), *head, ("…", False), *tail]
