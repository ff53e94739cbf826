"""The plugin as a user's test suite meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
SERVICE = Path(__file__).parents[1] / "services" / "plain_sse.py"
TEST = """
    def test_stream_gives_everything_back(guard):
        verdict = guard(
            command=[{python!r}, {service!r}, "{{port}}", {kind!r}], url="http://127.0.0.1:{{port}}/events",
            connections=100, concurrency=20, dwell=0.5, settle=0.3, sensitivity=0.01, max_time=30)
        assert verdict.bounded, verdict.explain()
"""


@pytest.mark.parametrize(("kind", "passed", "failed"), [("healthy", 1, 0), ("eventfd", 0, 1)])
def test_a_guard_passes_and_fails_with_its_evidence(
    pytester: pytest.Pytester, kind: str, passed: int, failed: int
) -> None:
    pytester.makepyfile(TEST.format(python=sys.executable, service=str(SERVICE), kind=kind))
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--harness-out", str(pytester.path / "out"))
    result.assert_outcomes(passed=passed, failed=failed)
    result.stdout.fnmatch_lines(["*harness reports*", "*report.html*"])
    if failed:
        result.stdout.fnmatch_lines(["*fds/eventfd per connection*"])


def test_unused_it_imports_neither_locust_nor_the_experiment() -> None:
    code = (
        "import sys, harness.pytest_plugin; "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('locust', 'gevent', 'rich', 'zmq')]; "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
