"""Descriptors of the generator itself: raises the limit, and refuses a load that needs more."""

from __future__ import annotations

import resource

from harness.core.errors import ConfigError

SPARE = 200  # descriptors for everything that is not a stream


def raise_limit() -> None:
    """Raise the soft limit of descriptors to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_limit(concurrency: int) -> None:
    """Raise ConfigError when this many streams cannot be open at once in this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and concurrency + SPARE > soft:
        raise ConfigError(
            f"concurrency {concurrency} per process; expected at most {soft - SPARE} with {soft} descriptors: "
            "raise ulimit -n, or use more processes"
        )
