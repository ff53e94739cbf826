"""Which messages a fault applies to, and when. Counting starts when the fault is switched on."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from random import Random

from fake_broker.fault import bounds, hex_digits, text_or_flag

FOREVER = 1e9  # seconds


@dataclass(frozen=True, slots=True)
class Match:
    """All conditions must hold. They are checked in this order: filters, time window, nth and every (which count the
    messages that passed the filters), probability, number of times."""

    service: str = text_or_flag("*", "service name, with * ? [] as in file names")
    message: str = text_or_flag(
        "*", "REQUEST, PARTIAL, FINAL, READY, HEARTBEAT, DISCONNECT; * for what the fault acts on"
    )
    identity: str = hex_digits("", "first hex digits of the peer's ROUTER identity")
    nth: int = bounds(0, 0, 10**9, "apply only to the Nth message that matches, counted from 1; 0: to all")
    every: int = bounds(1, 1, 10**9, "apply to every Nth message that matches")
    probability: float = bounds(
        1.0, 0.0, 1.0, "probability of applying to a message that matches, by the seeded generator"
    )
    times: int = bounds(0, 0, 10**9, "apply at most this many times; 0: no limit")
    after: float = bounds(0.0, 0.0, FOREVER, "seconds from switching it on until it begins")
    until: float = bounds(FOREVER, 0.0, FOREVER, "seconds from switching it on until it is switched off")


@lru_cache(maxsize=4096)
def _service_fits(service: bytes, pattern: str) -> bool:
    return fnmatchcase(service.decode("utf-8", "backslashreplace"), pattern)


class Matcher:
    """A Match with its counters. It has no clock: callers pass the time."""

    def __init__(self, match: Match, commands: frozenset[str], random: Random, now: float) -> None:
        self.match = match
        self.seen = 0
        self.fired = 0
        self._commands = commands if match.message == "*" else frozenset({match.message})
        self._random = random
        self._since = now

    def applies_to(self, command: str, service: bytes, identity: bytes, now: float) -> bool:
        """Count the message, and return whether the fault applies to it."""
        match = self.match
        if command not in self._commands or not self.fits(service, identity) or not self.open(now):
            return False
        self.seen += 1
        if match.nth and self.seen != match.nth:
            return False
        if self.seen % match.every:
            return False
        # The generator is called only if it decides something, so that a fault without a probability does not change
        # the sequence.
        if match.probability < 1.0 and self._random.random() >= match.probability:
            return False
        if match.times and self.fired >= match.times:
            return False
        self.fired += 1
        return True

    def fits(self, service: bytes, identity: bytes) -> bool:
        """Whether service and peer match. Counts nothing."""
        match = self.match
        if match.service != "*" and not _service_fits(service, match.service):
            return False
        return not match.identity or identity.hex().startswith(match.identity.lower())

    def open(self, now: float) -> bool:
        """Whether the time window is open."""
        return self.match.after <= now - self._since < self.match.until

    @property
    def ends(self) -> float | None:
        """When the window closes, by the same clock; None for never."""
        return None if self.match.until >= FOREVER else self._since + self.match.until

    @property
    def begins(self) -> float:
        """When the window opens."""
        return self._since + self.match.after
