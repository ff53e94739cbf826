"""The plugin's surface: options, markers, fixtures, summary; without a real guard where none is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
QUIET = ("-p", "no:randomly", "-p", "no:cacheprovider")
SERVICE = Path(__file__).parents[1] / "services" / "plain_sse.py"
LEAKY = """
    import os, threading, pytest
    KEPT = []
    pytestmark = pytest.mark.no_leaks(timeout=0.2)
    def test_one(): KEPT.append(os.eventfd(0))
    def test_three():
        KEPT.extend(os.eventfd(0) for _ in range(2))
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    def test_clean(): os.close(os.eventfd(0))
"""


def test_no_leaks_for_a_whole_suite_fails_and_ranks_the_leaking_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LEAKY.replace("pytestmark", "unused"))
    result = pytester.runpytest_subprocess(*QUIET, "--no-leaks")
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        ["*tests that leak most*", "*3  *test_three*2 descriptors, 1 threads*", "*1  *test_one*"]
    )


def test_the_ranking_comes_through_xdist(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LEAKY)
    result = pytester.runpytest_subprocess(*QUIET, "--no-leaks", "-n", "2")
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["*3  *test_three*"])


def test_marker_and_fixture_and_what_a_wider_fixture_keeps(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import asyncio, os, pytest
        from harness.no_leaks import Ignore
        KEPT = []
        @pytest.fixture(scope="module")
        def shared():
            KEPT.append(os.eventfd(0)); yield
        @pytest.mark.no_leaks
        def test_wider(shared): pass
        @pytest.mark.no_leaks(ignore=[Ignore("descriptors", "*eventfd*", "kept by the test on purpose")])
        def test_ignored(): KEPT.append(os.eventfd(0))
        @pytest.mark.no_leaks(timeout=0.2)
        def test_leaks(): KEPT.append(os.eventfd(0))
        def test_fixture_leaks(no_leaks): KEPT.append(os.eventfd(0))
        def test_fixture_clean(no_leaks): os.close(os.eventfd(0))
        @pytest.mark.no_leaks
        @pytest.mark.asyncio
        async def test_async(): await asyncio.sleep(0)
    """)
    result = pytester.runpytest_subprocess(*QUIET)
    result.assert_outcomes(passed=6, errors=2)
    result.stdout.fnmatch_lines(["*1 descriptors left, 2 s after the end*", "*eventfd*"])
    result.stdout.fnmatch_lines_random(["*1  *::test_leaks  (1 *", "*1  *::test_fixture_leaks  (1 *"])
    said = result.stdout.str()
    assert "harness/" not in said, "what is left is told, not our frames"
    assert "another exception" not in said


def test_a_test_that_failed_is_not_checked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import os, pytest
        KEPT = []
        def leak():
            KEPT.append(os.eventfd(0)); assert 0
        @pytest.mark.no_leaks
        def test_marked(): leak()
        def test_fixture(no_leaks): leak()
    """)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(failed=2)


MISTAKES = {
    "def test_x(guard): guard(url='http://127.0.0.1:1/', command=['true'], setle=1)": "*did you mean 'settle'*",
    "def test_x(guard): guard(url='http://127.0.0.1:1/', command='python app.py')":
        "*'python app.py'): one string; expected a list of arguments: *'app.py'*",
    "def test_x(guard): guard(url='http://127.0.0.1:1/', command=['true'], connections='many')":
        "*guard(connections='many'): expected a whole number*",
    "import pytest\n@pytest.mark.budget(fd='0/connection')\n"
    "def test_x(guard): guard(url='http://127.0.0.1:1/', command=['true'])": "*metric 'fd'*did you mean 'fds'*",
}  # fmt: skip
IN_BUDGET = {
    "def test_x(guard): guard(url='http://127.0.0.1:1/', command=['true'])":
        "*wrong.toml, line 2: *'conection'*did you mean 'connection'*",
}  # fmt: skip


@pytest.mark.parametrize(
    ("mistakes", "options"), [(MISTAKES, ()), (IN_BUDGET, ("--harness-budget", "wrong.toml"))]
)
def test_a_mistake_in_a_test_names_the_nearest_name(
    pytester: pytest.Pytester, mistakes: dict[str, str], options: tuple[str, ...]
) -> None:
    pytester.makepyfile(**{f"test_{number}": code for number, code in enumerate(mistakes)})
    (pytester.path / "wrong.toml").write_text('[budget]\nfds = "0/conection"\n')
    result = pytester.runpytest_subprocess(*QUIET, *options)
    result.assert_outcomes(failed=len(mistakes))
    for words in mistakes.values():
        result.stdout.fnmatch_lines([words])
    assert "harness/plugin" not in result.stdout.str(), "the line of the test is what is shown"


def test_a_mistake_in_a_marker_is_one_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        @pytest.mark.no_leaks(timeou=1)
        def test_name(): pass
        @pytest.mark.no_leaks(ignore="threads")
        def test_value(): pass
        @pytest.mark.budget("0/connection")
        def test_budget(guard): pass
    """)
    result = pytester.runpytest_subprocess(*QUIET)
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "*test_name: *no_leaks: 'timeou'; expected keywords out of ignore, objects, memory, timeout",
            "*test_value: *no_leaks: ignore='threads': expected a list of Ignore*",
            "*test_budget: *budget('0/connection'): expected fds='0/connection' or a mapping",
        ]
    )
    assert "harness/plugin" not in result.stdout.str(), "the mistake is shown, not our frames"
    assert "another exception" not in result.stdout.str()


def test_tests_of_the_same_name_keep_their_own_reports(pytester: pytest.Pytester) -> None:
    test = f"""
        import sys
        def test_x(guard):
            guard(url="http://127.0.0.1:{{port}}/", command=[sys.executable, {str(SERVICE)!r}, "{{port}}", "page"])
    """
    pytester.makepyfile(test_a=test, test_b=test)
    result = pytester.runpytest_subprocess(*QUIET, "--harness-out", "out")
    result.assert_outcomes(passed=2)
    assert len(list((pytester.path / "out").glob("*/report.html"))) == 2


def test_a_guard_under_a_budget_fails_by_itself_with_its_evidence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"""
        import pytest
        @pytest.mark.budget(fds="0/connection")
        def test_x(guard):
            guard(url="http://127.0.0.1:{{port}}/", command=[{sys.executable!r}, {str(SERVICE)!r}, "{{port}}", "page"])
    """)
    (pytester.path / "budgets.toml").write_text('[budget]\nthreads = "7/connection"\n')
    own = pytester.path / "ours.toml"
    own.write_text('[budget]\nfds = "9/connection"\nmemory = "3 KiB/connection"\n')
    options = ("--harness-repeat", "2", "--harness-out", "out", "--harness-budget", str(own))
    result = pytester.runpytest_subprocess(*QUIET, *options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*BudgetExceeded*text/html*", "*  report    *report.html*", "*harness reports*"]
    )
    assert len(list((pytester.path / "out").glob("*/report.html"))) == 2, "repeated, each with its report"
    for path in (pytester.path / "out").glob("*/run.json"):
        (trial,) = json.loads(path.read_text())["trials"]
        assert trial["budget"]["growth"] == {"fds": 0, "memory": 3072}, (
            "the marker before the file that was named"
        )


def test_a_verdict_that_the_test_does_not_check_is_a_warning(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        CALL = dict(command=[sys.executable, "-c", "raise SystemExit(3)"], url="http://127.0.0.1:{port}/events")

        def test_ignores_the_verdict(guard):
            guard(**CALL)

        def test_checks_the_verdict(guard):
            assert guard(**CALL).bounded
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--harness-out", str(pytester.path / "out"))
    result.assert_outcomes(passed=1, failed=1)
    lines = [line for line in result.outlines if line.startswith("unready ")]
    assert [line.endswith("  (its test passed)") for line in lines] == [True, False], lines


def test_fake_broker_and_reference_service(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import urllib.request
        def test_x(reference_service, fake_broker):
            service = reference_service("fixed")
            assert fake_broker.endpoint.startswith("tcp://127.0.0.1:")
            with urllib.request.urlopen(service.stream(), timeout=20) as stream:
                assert stream.headers["Content-Type"].startswith("text/event-stream")
    """)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=1)


def test_unused_it_imports_nothing_beyond_pytest() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import harness.pytest_plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "['harness', 'harness.pytest_plugin']"
