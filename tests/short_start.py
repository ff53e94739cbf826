"""A pytest that a test runs starts in half the time without plugins that it has no part for."""

from __future__ import annotations

# They take longer to import than pytest itself. pytest-asyncio stays: examples in the guides are coroutines.
WITHOUT = " ".join(
    f"-p no:{name}"
    for name in ("hypothesispytest", "randomly", "pytest_cov", "anyio", "locust", "platformdirs")
)
