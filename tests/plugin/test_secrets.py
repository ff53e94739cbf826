"""The output of pytest for a guard that fails: no secret, and no command to a terminal or CI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(300)
SERVICE = Path(__file__).parents[1] / "services" / "telltale.py"
# The secrets are put together at run time: pytest quotes the source of a test that fails.
TEST = """
    import pytest
    SECRET = "-".join(["plAnted", "s3cret", "4711"])
    BODY = "-".join(["plAnted", "b0dy"])
    CALL = dict(
        url="http://127.0.0.1:{{port}}/e?token=" + SECRET, method="POST", body='{{"note": "' + BODY + '"}}',
        headers={{"Authorization": "Bearer " + SECRET}}, secrets=[BODY], redact=["zz-[0-9]+-zz"],
        connections=40, concurrency=20, dwell=0.2, settle=0.2, sensitivity=0.1, max_time=30)
    COMMAND = [{python!r}, {service!r}, "{{port}}", "60", "--api-key", SECRET]

    def test_explained(guard):
        verdict = guard(command=COMMAND, **CALL)
        assert verdict.bounded, verdict.explain()

    @pytest.mark.budget(fds="0/connection")
    def test_marked(guard):
        guard(command=COMMAND, **CALL)

    def test_unready(guard):
        last_lines = "print('#' * 2 + '[error]planted ' + chr(27) + ']0;t' + chr(7), flush=True); raise SystemExit(3)"
        verdict = guard(command=[{python!r}, "-c", last_lines], **CALL)
        assert verdict.bounded, verdict.explain()

    def test_refused(guard):
        guard(command=["no-such-command-" + SECRET, "--password", SECRET], **CALL)
"""


def test_the_failure_that_pytest_shows_holds_no_secret_and_no_order(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST.format(python=sys.executable, service=str(SERVICE)))
    out = pytester.path / "out"
    done = pytester.runpytest_subprocess("-p", "no:randomly", "--harness-out", str(out), "--junitxml=j.xml")
    done.assert_outcomes(failed=4)
    shown = "\n".join((*done.outlines, *done.errlines, (pytester.path / "j.xml").read_text()))
    assert "CRASHED  " in shown
    assert "*** is what --redact asks for" in shown, "the log is quoted"
    assert "no-such-command-***" in shown
    assert "## [error]planted" in shown
    logs = [path for path in out.rglob("target.log") if "plAnted-s3cret" in path.read_text(errors="replace")]
    assert len(logs) == 2, "the service logged what it was sent"
    for secret in ("plAnted-s3cret", "plAnted-b0dy", "zz-4711-zz"):
        assert secret not in shown
        for path in out.rglob("*"):
            if path.is_file() and path not in logs:
                assert secret not in path.read_text(errors="replace"), path
    for line in shown.splitlines():
        assert "##[" not in line
        assert "\x1b]" not in line
        assert not line.lstrip().startswith("::")
