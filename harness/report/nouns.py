"""Metrics, drivers and rates as nouns: "1.00 asyncio task per answered stream", "509 B heap per stream"."""

from __future__ import annotations

from harness.core.units import bytes_text
from harness.core.verdict import Finding, Rate
from harness.report.words import number

NOUNS = {
    ("fds", ""): "descriptor",
    ("fds", "file"): "file descriptor",
    ("fds", "deleted-file"): "descriptor of a deleted file",
    ("fds", "device"): "device descriptor",
    ("fds", "eventfd"): "eventfd",
    ("fds", "tcp-in"): "client socket",
    ("fds", "close-wait"): "socket in CLOSE_WAIT",
    ("fds", "rowless-socket"): "unconnected socket",
    ("threads", ""): "thread",
    ("processes", ""): "process",
    ("processes", "zombie"): "zombie process",
    ("mappings", ""): "memory mapping",
    ("broker-peers", ""): "broker peer",
    ("idle-cpu", ""): "core of idle CPU",
    ("tasks", "asyncio-task"): "asyncio task",
    ("tasks", "java-thread"): "Java thread",
    ("memory", "objects"): "object",
    ("memory", "blocks"): "block",
}
# Counted in bytes: no plural.
BYTE_NOUNS = {
    ("memory", ""): "memory",
    ("memory", "heap-bytes"): "heap",
    ("memory", "external-bytes"): "buffers outside the heap",
    ("memory", "anonymous"): "anonymous memory",
    ("memory", "rss"): "resident memory",
    ("memory", "uss"): "private memory",
}
DRIVERS = {
    "answered-stream": "answered stream",
    "client": "distinct client",
    "abort": "aborted stream",
    "slow-reader": "stalled reader",
    "stream-second": "second of an open stream",
    "broker-timeout": "broker timeout",
    "invalid-request": "invalid request",
    "connected-hour": "connected hour",
}
MAX_DECIMALS = 4  # of the ends of an interval: a rate is not known any better
PLURALS = {
    "descriptor of a deleted file": "descriptors of deleted files",
    "socket in CLOSE_WAIT": "sockets in CLOSE_WAIT",
    "process": "processes",
    "core of idle CPU": "cores of idle CPU",
    "second of an open stream": "seconds of open streams",
    "stream not closed in order": "streams not closed in order",
    "stream that was reset": "streams that were reset",
    "request reset before its answer": "requests reset before their answer",
    "stream reset midway": "streams reset midway",
}


def noun(metric: str, kind: str) -> str:
    """The singular noun of a metric: ``asyncio task``, ``descriptor (tcp-out :9797)``, ``heap``."""
    known = NOUNS.get((metric, kind)) or BYTE_NOUNS.get((metric, kind))
    if known:
        return known
    plain = NOUNS.get((metric, ""), metric.rstrip("s"))
    if metric == "tasks":
        return kind.replace("-", " ") or "task"
    return f"{plain} ({kind.replace(':', ' :')})" if kind else plain


def in_bytes(metric: str, kind: str) -> bool:
    """Whether the unit of a metric is the byte."""
    return metric == "memory" and kind not in ("objects", "blocks")


def plural(one: str) -> str:
    """``asyncio tasks``, ``descriptors (tcp-out :9797)``."""
    word, space, rest = one.partition(" (")
    end = PLURALS.get(word) or (
        f"{word[: -len('process')]}processes" if word.endswith("process") else f"{word}s"
    )
    return f"{end}{space}{rest}"


def decimal(value: float) -> str:
    """Two decimals from 0.01 to 100, else three significant digits: ``1.00``, ``0.00038``, ``1,349``."""
    size = abs(value)
    if 0.01 <= size < 100:
        return f"{value:.2f}"
    if 1e-7 < size < 0.01:
        text = f"{value:.7f}".rstrip("0")
        digits = f"{float(f'{value:.2g}'):.9f}".rstrip("0")
        # Two significant digits, unless the exact decimal is shorter.
        return min(text, digits, key=len)
    return number(value)


def quantity(metric: str, kind: str, value: float, *, brief: bool = False) -> str:
    """``1.00 asyncio task``, ``0.00038 descriptors``, ``509 B heap``; in brief ``60 blocks`` instead of 60.00."""
    one = noun(metric, kind)
    if in_bytes(metric, kind):
        return f"{bytes_text(value)} {one}"
    shown = number(value) if brief and value >= 2 else decimal(value)
    return f"{shown} {one if shown in ('1', '1.00') else plural(one)}"


def driver(unit: str) -> str:
    """The driver of a rate's unit: ``tasks/answered-stream`` → ``answered stream``."""
    name = unit.rpartition("/")[2] or "connection"
    return DRIVERS.get(name, name.replace("-", " "))


def interval(rate: Rate, *, size: bool) -> str:
    """``(95 %: 0.99–1.01)``; nothing where the interval has no end. Ends that are equal at two decimals get more;
    ``1.00–1.00`` is a rate that every cycle confirmed exactly."""
    if not rate.high > 0 or rate.high == float("inf"):
        return ""
    low, high = (bytes_text(rate.low), bytes_text(rate.high)) if size else _ends(rate.low, rate.high)
    # Without its unit the lower end reads easier where both have the same.
    unit = low.rpartition(" ")[2]
    if size and high.endswith(f" {unit}"):
        low = low.rpartition(" ")[0]
    return f"(95 %: {low}–{high})"


def _ends(low: float, high: float) -> tuple[str, str]:
    ends = decimal(low), decimal(high)
    for digits in range(3, MAX_DECIMALS + 1):
        if ends[0] != ends[1] or low == high:
            break
        ends = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return ends if ends[0] != ends[1] else (decimal(low), decimal(high))


def growth(finding: Finding) -> str:
    """``1.00 asyncio task per answered stream``; the name of what passed a ceiling."""
    if finding.rate is None:
        return noun(finding.metric, finding.kind)
    return f"{quantity(finding.metric, finding.kind, finding.rate.value)} per {unit_of(finding)}"


def unit_of(finding: Finding) -> str:
    """One unit of a finding's driver in words: ``answered stream``, ``request reset before its answer``."""
    return finding.per or (driver(finding.rate.unit) if finding.rate else "")
