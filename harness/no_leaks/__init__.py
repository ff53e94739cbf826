"""Checks that a piece of code in this process releases everything (docs/pytest.md).

    from harness.no_leaks import no_leaks

    with no_leaks():                      # or: async with no_leaks():
        client = connect()
        client.close()

Descriptors, threads, child processes, asyncio tasks, ZeroMQ sockets and contexts, objects of given types and
traced memory are compared before and after, repeatedly until nothing is left or the timeout is over.
"""

from harness.no_leaks.check import LeaksError, NoLeaks, assert_no_growth, no_leaks
from harness.no_leaks.ignore import Ignore
from harness.no_leaks.snapshot import KINDS, Snapshot, Thing, snapshot

__all__ = [
    "KINDS",
    "Ignore",
    "LeaksError",
    "NoLeaks",
    "Snapshot",
    "Thing",
    "assert_no_growth",
    "no_leaks",
    "snapshot",
]
