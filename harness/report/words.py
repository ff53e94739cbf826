"""Numbers and outcomes in words, used by every form of report."""

from __future__ import annotations

import math

METRIC_WORD = {
    "fds": "descriptors",
    "threads": "threads",
    "processes": "processes",
    "mappings": "memory mappings",
    "tasks": "tasks",
    "broker-peers": "broker peers",
    "memory": "memory",
    "idle-cpu": "idle CPU",
}
MINUS = "−"


MAX_NUMBER = 1e18  # beyond anything that is counted or measured


def number(value: float, digits: int = 3) -> str:
    """``1,234`` ``0.25`` ``2.5e-4``: with ``digits`` significant digits and separators of thousands."""
    if abs(value) > MAX_NUMBER:  # a damaged record; a whole number may be larger than any float
        value = math.copysign(math.inf, 1 if value > 0 else -1)
    if not math.isfinite(value):
        return "∞" if value > 0 else ("unknown" if math.isnan(value) else f"{MINUS}∞")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000 or value == round(value):
        text = f"{value:,.0f}"
    elif size < 10**-3:
        mantissa, exponent = f"{value:.{max(0, digits - 2)}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        text = f"{value:.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def signed(value: float, digits: int = 3) -> str:
    """``+1.02``; zero has no sign."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text != "0" else text


def size(value: float) -> str:
    """Bytes with a binary unit: ``1.2 KiB``."""
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= step:
            return f"{number(value / step)} {unit}"
    return f"{number(value)} B"


def about(seconds: float) -> str:
    """An estimated time: ``about 40 s``, ``about 4 min``, ``about 2 h 5 min``: no more digits than it is worth."""
    if 1 <= seconds < 120:
        return f"about {seconds:.0f} s"
    if 120 <= seconds < 3600:
        return f"about {round(seconds / 60)} min"
    return f"about {span(seconds)}"


def span(seconds: float) -> str:
    """A length of time: ``0.4 s``, ``12.3 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if not math.isfinite(seconds):  # a damaged record
        return "an unknown time"
    minutes = round(seconds / 60)
    if seconds < 3600:
        whole, rest = divmod(round(seconds), 60)
        return f"{whole} min {rest} s" if rest else f"{whole} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{minutes / 1440:,.1f} days"
