"""Which messages a fault touches, and for how long. Counting starts when the fault is switched on."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from random import Random

from fake_broker.fault import bounds, hex_digits, said

FOREVER = 1e9


@dataclass(frozen=True, slots=True)
class Match:
    """All conditions must hold. Filters first, then the window, then nth and every over what passed the filters,
    then the dice, then the number of times."""

    service: str = said("*", "service name, with * ? [] as in file names")
    message: str = said(
        "*", "REQUEST, PARTIAL, FINAL, READY, HEARTBEAT, DISCONNECT; * for what the fault acts on"
    )
    identity: str = hex_digits("", "first hex digits of the peer's ROUTER identity")
    nth: int = bounds(0, 0, 10**9, "apply only to the Nth message that matches, counted from 1; 0: to all")
    every: int = bounds(1, 1, 10**9, "apply to every Nth message that matches")
    probability: float = bounds(1.0, 0.0, 1.0, "of each one that matches, by the seeded generator")
    times: int = bounds(0, 0, 10**9, "apply at most this many times; 0: no limit")
    after: float = bounds(0.0, 0.0, FOREVER, "seconds from switching on until it begins")
    until: float = bounds(FOREVER, 0.0, FOREVER, "seconds from switching on until it is switched off")


@lru_cache(maxsize=4096)
def _service_fits(service: bytes, pattern: str) -> bool:
    return fnmatchcase(service.decode("utf-8", "backslashreplace"), pattern)


class Matcher:
    """A Match with its counters. Owns no clock: the time comes with each question."""

    def __init__(self, match: Match, commands: frozenset[str], random: Random, now: float) -> None:
        self.match = match
        self.seen = 0
        self.fired = 0
        self._commands = commands if match.message == "*" else frozenset({match.message})
        self._random = random
        self._since = now

    def wants(self, command: str, service: bytes, identity: bytes, now: float) -> bool:
        """True when the fault acts on this message; counts it."""
        match = self.match
        if command not in self._commands or not self.fits(service, identity) or not self.open(now):
            return False
        self.seen += 1
        if match.nth and self.seen != match.nth:
            return False
        if self.seen % match.every:
            return False
        if match.probability < 1.0 and self._random.random() >= match.probability:
            return False
        if match.times and self.fired >= match.times:
            return False
        self.fired += 1
        return True

    def fits(self, service: bytes, identity: bytes) -> bool:
        """Is it the right service and peer? Counts nothing."""
        match = self.match
        if match.service != "*" and not _service_fits(service, match.service):
            return False
        return not match.identity or identity.hex().startswith(match.identity.lower())

    def open(self, now: float) -> bool:
        """Inside the window of time?"""
        return self.match.after <= now - self._since < self.match.until

    @property
    def ends(self) -> float | None:
        """When the window closes for good, on the same clock; None for never."""
        return None if self.match.until >= FOREVER else self._since + self.match.until

    @property
    def begins(self) -> float:
        """When the window opens."""
        return self._since + self.match.after
