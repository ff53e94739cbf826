"""A project with a module named ``harness`` of its own: only tests that use the plugin fail, each in one line."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
ENTRY = "sse_leak_harness_plugin"
TESTS = """
    import pytest
    from harness import answer
    def test_their_own(): assert answer() == 42
    @pytest.mark.parametrize("name", ["guard", "no_leaks", "fake_broker", "reference_service"])
    def test_fixture(name, request): request.getfixturevalue(name)
    @pytest.mark.no_leaks
    def test_marker(): pass
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *options: str) -> pytest.RunResult:
    """Their suite with our plugin, as an installation loads it."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", path)
    loaded = ("-p", "no:sse-leak-harness", "-p", ENTRY)
    return pytester.runpytest_subprocess(*loaded, "-p", "no:randomly", "-p", "no:cacheprovider", *options)


def test_a_projects_own_harness_module_is_named_by_each_fixture_in_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = pytester.path / "harness.py"
    theirs.write_text("def answer(): return 42\n")
    pytester.makepyfile(TESTS)
    result = run(pytester, monkeypatch)
    result.assert_outcomes(passed=1, failed=4, errors=1)
    text = result.stdout.str()
    assert text.count(f"cannot import its package harness: {theirs} has the same name") >= 5
    assert "rename that module" in text
    assert "Traceback" not in text
    assert "ModuleNotFoundError" not in text


def test_a_module_that_cannot_be_imported_is_named_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "harness.py").write_text("raise RuntimeError('not today')\n")
    pytester.makepyfile("def test_one(): pass\ndef test_two(guard): pass\n")
    result = run(pytester, monkeypatch)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*cannot import its package harness: RuntimeError: not today*"])


def test_the_option_for_the_whole_suite_is_a_usage_error(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "harness.py").touch()
    pytester.makepyfile("def test_one(): pass\n")
    result = run(pytester, monkeypatch, "--no-leaks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--no-leaks: sse-leak-harness cannot import its package harness" in result.stderr.str()


def test_an_installation_loads_this_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"sse-leak-harness": ENTRY}
    assert ENTRY in project["tool"]["setuptools"]["py-modules"]
