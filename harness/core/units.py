"""Quantities as people write them: "5m", "64 MiB", "1/1000", "0/connection"."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from harness.core.errors import ConfigError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_BYTES = {
    "": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30,
}  # fmt: skip
_NUMBER = re.compile(r"^\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)\s*$")
_UNITS = re.compile(r"^\s*(?:(\d+)\s+)?([a-zA-Z]+(?:\s[a-zA-Z]+)?)\s*$")
PER_UNITS = ("connection", "event", "hour", "connected hour")
SYNONYMS = {"stream": "connection", "answered stream": "connection"}  # as verdicts and --sensitivity name it


MAX_TEXT = 100  # characters of a quantity; longer ones would make the patterns slow


def shown(text: str) -> str:
    """A value for an error message, cut to its beginning."""
    return repr(text) if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]!r}… ({len(text):,} characters)"


def counted(number: float | str, noun: str, form: str = "") -> str:
    """``1 connection``, ``0 connections``, ``12,000 connections``: a number in ``form`` (a format specification), or
    as it is written already, and the noun that agrees with what is read."""
    shown = number if isinstance(number, str) else format(number, form)
    if shown.lstrip("+-").strip() == "1":
        return f"{shown} {noun}"
    return f"{shown} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """``; did you mean 'fds'?`` for the valid name that is most like ``word``, or nothing."""
    # The comparison is quadratic in the length, and no valid name is that long.
    short = [name for name in names if len(name) <= MAX_TEXT]
    close = difflib.get_close_matches(word, short, n=1, cutoff=0.5) if len(word) <= MAX_TEXT else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _split(name: str, text: str, units: dict[str, float] | dict[str, int], expected: str) -> float:
    found = _NUMBER.match(text) if len(text) <= MAX_TEXT else None
    if not found or found[2].lower() not in units or not math.isfinite(float(found[1])):
        raise ConfigError(f"{name} {shown(text)}: expected {expected}")
    return float(found[1]) * units[found[2].lower()]


def duration(name: str, text: str, *, zero: bool = False) -> float:
    """Seconds; a bare number is seconds. Raises ConfigError naming ``name`` for anything else, and for 0 unless
    ``zero`` allows it."""
    value = _split(name, text, _SECONDS, "a time such as 500ms, 30s, 5m or 2h")
    if value <= 0 and not zero:
        raise ConfigError(f"{name} {text!r}: expected a time above 0")
    return value


def duration_text(seconds: float) -> str:
    """A round time that is at least as long, as an option takes it: ``90s``, ``5m``, ``2h``."""
    if seconds <= 120:
        return f"{10 * math.ceil(seconds / 10)}s"
    return f"{math.ceil(seconds / 60)}m" if seconds <= 7200 else f"{math.ceil(seconds / 3600)}h"


def bytes_text(value: float) -> str:
    """``512 B``, ``4.0 kB``, ``146 MB``: decimal units, as rates are given."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g} B"


def six_digits(value: float) -> float:
    """A value with six significant digits: more than the precision of a measurement, and the same on every machine."""
    return float(f"{value:.6g}")


def size(name: str, text: str) -> float:
    """Bytes; KiB is 1024, kB is 1000. Raises ConfigError."""
    return _split(name, text, _BYTES, "a size such as 1024, 64 KiB or 2 MB")


def count(name: str, text: str) -> float:
    """A number without a unit. Raises ConfigError."""
    return _split(name, text, {"": 1}, "a number such as 0 or 12")


def rate(name: str, text: str) -> float:
    """A positive rate: ``0.001``, ``1e-3`` or ``1/1000``. Raises ConfigError."""
    over, slash, under = text.partition("/") if len(text) <= MAX_TEXT else ("", "", "")
    try:
        value = float(over) / (float(under) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} {shown(text)}: expected a rate above 0 such as 1/1000 or 0.001")
    return value


def per_unit(name: str, text: str, *, sized: bool = True) -> tuple[float, str]:
    """``"1 KiB/connection"`` → ``(1024.0, "connection")``, ``"1/1000 connections"`` → ``(0.001, "connection")``.
    ``"1 KiB/stream"`` is the same as ``"1 KiB/connection"``.

    sized: the amount may be in bytes; else a plain number. Raises ConfigError.
    """
    amount, slash, rest = text.rpartition("/")
    example = "'1 KiB/connection'" if sized else "'0/connection'"
    found = _UNITS.match(rest) if len(text) <= MAX_TEXT else None
    if not slash or not found:
        raise ConfigError(
            f"{name} {shown(text)}: expected an amount per {_listed(PER_UNITS)}, such as {example}"
        )
    word = found[2].removesuffix("s")
    word = SYNONYMS.get(word, word)
    if word not in PER_UNITS:
        raise ConfigError(
            f"{name} {text!r}: per {found[2]!r}; expected per {_listed(PER_UNITS)}{did_you_mean(word, PER_UNITS)}"
        )
    many = int(found[1] or 1)
    if many == 0:
        raise ConfigError(f"{name} {text!r}: per 0 {word}s; expected at least 1")
    value = size(name, amount) if sized else count(name, amount)
    return value / many, word


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
