"""Budget files and the schema from the command line: checked, and written from an accepted run."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.cli.guard import command as guard
from harness.config import budget_for, load, loads
from harness.core.budget import Budget
from harness.core.budget_file import EXCEPTION_FIELDS, MEMORY_KINDS, SUBTABLES
from harness.core.judge.trial import judge
from harness.core.metric import METRICS, Key
from harness.core.record import About, RunRecord, Trial
from harness.core.verdict import Outcome
from harness.no_leaks import KINDS
from harness.report.schema import schema
from harness.store.run_dir import RunDirectory
from tests.core.series import trial

ROOT = Path(__file__).parents[2]
LEAKING = trial([310, 610, 910, 1210])
BOUNDED = trial([10.0] * 12)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(folder: Path, **trials: Trial) -> Path:
    named = [replace(one, name=name) for name, one in trials.items()]
    judged = tuple(replace(one, verdict=judge(one)) for one in named)
    with RunDirectory.create(folder / "run", "the-run") as directory:
        directory.checkpoint(RunRecord("the-run", "x", "2026-01-01T00:00:00+00:00", 0, judged))
        return directory.path


def test_the_published_schema_is_what_the_command_prints() -> None:
    printed = run("schema")
    assert printed.exit_code == 0
    assert json.loads(printed.output) == schema()
    assert (ROOT / "docs" / "verdict.schema.json").read_text() == printed.output, (
        "write it anew: harness schema > docs/verdict.schema.json"
    )


def test_the_budgets_of_this_project_are_valid() -> None:
    checked = run("budget", "check", ROOT / "budgets.toml")
    assert checked.exit_code == 0, checked.output
    assert "1 profile, " in checked.output


def test_an_accepted_leak_is_a_temporary_exception_that_is_reported_as_looser(here: Path) -> None:
    path = saved(here, guard=LEAKING)
    (here / "budgets.toml").write_text('# ours\n[budget]\nfds = "0/connection"  # none\n')
    tried = run("baseline", "accept", path, "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert "[budget] fds per connection: 0 -> 1 (LOOSENS), as an exception until " in tried.output
    assert "[budget] ceiling of fds: none -> 1,452 (tightens)" in tried.output
    assert "exception" not in (here / "budgets.toml").read_text(), "--dry-run only says"
    assert run("baseline", "accept", path).exit_code == 0
    text = (here / "budgets.toml").read_text()
    assert '# ours\n[budget]\nfds = "0/connection"  # none\n' in text
    (exception,) = load(here / "budgets.toml").exemptions
    assert (exception.metric, exception.allow) == ("fds", "1/connection")
    assert exception.reason == "TODO: why? accepted from the-run"
    assert exception.expires - datetime.datetime.now().astimezone().date() in (
        datetime.timedelta(days=89), datetime.timedelta(days=90)
    )  # fmt: skip
    budget, notes = budget_for(None, endpoints=("/",), start=here)
    assert any("TODO: why?" in note.text for note in notes), "every later guard says it"
    assert judge(replace(LEAKING, budget=budget)).outcome is not Outcome.LEAKING
    again = run("baseline", "accept", path)
    assert "nothing changes" in again.output
    assert (here / "budgets.toml").read_text() == text


def test_more_growth_raises_the_same_exception_and_a_higher_ceiling_is_reported_as_looser(here: Path) -> None:
    last_day = datetime.datetime.now().astimezone().date()
    (here / "budgets.toml").write_text(
        '[budget.ceilings]\nfds = 100\n[[exception]]\nmetric = "fds"\nallow = "1/1000 connections"\n'
        f'reason = "the client keeps one"\nexpires = {last_day}\n'
    )
    done = run("baseline", "accept", saved(here, guard=LEAKING))
    assert "ceiling of fds: 100 -> 1,452 (LOOSENS)" in done.output
    assert "fds per connection: 0.001 -> 1 (LOOSENS)" in done.output
    (exception,) = load(here / "budgets.toml").exemptions
    assert (exception.allow, exception.reason) == ("1/connection", "the client keeps one")
    assert exception.expires > last_day


def test_several_trials_are_profiles_of_a_pyproject_whose_rest_stays(here: Path) -> None:
    before = '[project]\nname = "x"  # theirs\n\n[tool.ruff]\nline-length = 99\n\n'
    before += '[tool.harness.budget]\nfds = "0/connection"\n'
    (here / "pyproject.toml").write_text(
        before + "\n[build-system]\nrequires = []\n\n[tool.mypy]\nstrict = true\n"
    )
    path = saved(here, quick=LEAKING, slow=BOUNDED)
    done = run("baseline", "accept", path)
    assert done.exit_code == 0, done.output
    assert "[profile.quick] fds per connection: 0 -> 1 (LOOSENS)" in done.output
    text = (here / "pyproject.toml").read_text()
    assert text.startswith(before.rstrip())
    assert "[tool.mypy]\nstrict = true" in text
    found = load(here / "pyproject.toml")
    assert found.profiles["slow"].ceilings == {"fds": 12}
    assert found.profiles["quick"].ceilings == {"fds": 1452}
    assert [(one.metric, one.profile) for one in found.exemptions] == [("fds", "quick")]


def test_a_ceiling_of_memory_is_replaced_and_not_written_twice(here: Path) -> None:
    (here / "budgets.toml").write_text('[budget.ceilings]\nmemory = "256 MiB"  # ours\n')
    memory = {Key("memory", "anonymous"): float(1 << 20)}
    seen = [replace(one, levels={**one.levels, **memory}) for one in LEAKING.observations]
    done = run("baseline", "accept", saved(here, guard=replace(LEAKING, observations=tuple(seen))))
    assert "ceiling of memory/anonymous: 268,435,456 B -> 1,258,292 B (tightens)" in done.output
    text = (here / "budgets.toml").read_text()
    assert "memory = 1258292  # ours\n" in text
    assert "memory/anonymous" not in text


def test_trials_that_cannot_be_accepted_are_reported(here: Path) -> None:
    path = saved(here, quick=LEAKING, short=trial([10, 10, 10]))
    refused = run("baseline", "accept", path)
    assert refused.exit_code != 0
    assert "trial 'short' is inconclusive" in str(refused.exception or refused.output) + refused.output
    assert not (here / "budgets.toml").exists()
    one = run("baseline", "accept", path, "--trial", "quick", "--profile", "nightly")
    assert one.exit_code == 0, one.output
    assert load(here / "budgets.toml").exemptions[0].profile == "nightly"
    wrong = run("baseline", "accept", path, "--trial", "quik")
    assert "did you mean 'quick'" in str(wrong.exception) + wrong.output
    both = run("baseline", "accept", path, "--profile", "nightly")
    assert "expected --trial NAME" in str(both.exception) + both.output


TODAY = datetime.datetime.now().astimezone().date()
# The run may pass midnight, so an exception that is still to hold does not end today.
TOMORROW = TODAY + datetime.timedelta(days=1)
ZERO = 'fds = "0/connection"\n'
PLACES = {
    "its own table": (
        f'[endpoint."/"]\n{ZERO}[endpoint."/other"]\n{ZERO}',
        None,
        '[endpoint."/"]',
        ("endpoint", "/"),
        (None, "/"),
    ),
    "only another's table": (
        f'[budget]\n{ZERO}[endpoint."/other"]\n{ZERO}',
        None,
        '[endpoint."/"]',
        ("endpoint", "/"),
        (None, "/"),
    ),
    "only another's exception": (
        f'[budget]\n{ZERO}[[exception]]\nmetric = "fds"\nallow = "3/connection"\nreason = "theirs"\n'
        f'endpoint = "/other"\nexpires = {TOMORROW}\n',
        None,
        '[endpoint."/"]',
        ("endpoint", "/"),
        (None, "/"),
    ),
    "the run's profile": (
        f"[budget.ceilings]\nfds = 9\n[profile.nightly]\n{ZERO}[profile.nightly.ceilings]\nfds = 5\n",
        "nightly",
        "[profile.nightly]",
        ("profile", "nightly"),
        ("nightly", None),
    ),
    "profile and endpoint": (
        f'[profile.nightly]\n{ZERO}[endpoint."/other"]\n{ZERO}',
        "nightly",
        '[profile.nightly] [endpoint."/"]',
        ("profile", "nightly"),
        ("nightly", "/"),
    ),
}


@pytest.mark.parametrize("pyproject", [False, True], ids=["budgets.toml", "pyproject"])
@pytest.mark.parametrize(("text", "profile", "said", "table", "holds"), PLACES.values(), ids=PLACES)
def test_a_written_budget_applies_only_to_the_endpoints_of_its_run(
    text: str,
    profile: str | None,
    said: str,
    table: tuple[str, str],
    holds: tuple[str | None, str | None],
    pyproject: bool,
    here: Path,
) -> None:
    path = here / ("pyproject.toml" if pyproject else "budgets.toml")
    if pyproject:
        text = re.sub(r"^(\[+)(?=\w)", r"\1tool.harness.", text, flags=re.MULTILINE)
    path.write_text(text)

    def allowed(endpoint: str, profile: str | None) -> Budget:
        return budget_for(None, endpoints=(endpoint,), profile=profile, start=here)[0]

    others = [allowed("/other", profile), allowed("/other", None)]
    run_of = replace(LEAKING, about=About(budget_profile=profile or ""))
    done = run("baseline", "accept", saved(here, guard=run_of))
    assert done.exit_code == 0, done.output
    assert f"{said} fds per connection: 0 -> 1 (LOOSENS), as an exception until " in done.output
    assert "the run exceeds none of these budgets" in done.output
    new = load(path).exemptions[-1]
    assert (new.profile, new.endpoint) == holds
    kind, name = table
    tables = load(path).profiles if kind == "profile" else load(path).endpoints
    assert tables[name].ceilings == {"fds": 1452}
    again = judge(replace(LEAKING, budget=allowed("/", profile)))
    assert (again.findings, again.outcome) == ((), Outcome.INCONCLUSIVE), "nothing is over, and it was short"
    assert allowed("/other", None) == others[1], "and one of another kind is held to what it was"
    if holds[1]:
        assert allowed("/other", profile).growth == others[0].growth
    before = path.read_text()
    assert "nothing changes" in run("baseline", "accept", here / "run").output
    assert path.read_text() == before


def test_each_of_several_paths_is_allowed_the_average_growth_per_connection(here: Path) -> None:
    (here / "budgets.toml").write_text(f'[endpoint."/a"]\n{ZERO}')
    seen = tuple(replace(one, spec=replace(one.spec, paths=("/a?x=1", "/b"))) for one in LEAKING.observations)
    done = run("baseline", "accept", saved(here, guard=replace(LEAKING, observations=seen)))
    assert '[endpoint."/a"] [endpoint."/b"] fds per connection: 0 -> 1 (LOOSENS)' in done.output, done.output
    assert [(one.endpoint, one.allow) for one in load(here / "budgets.toml").exemptions] == [
        ("/a", "1/connection"),
        ("/b", "1/connection"),
    ]
    assert "the run exceeds none of these budgets" in done.output


def test_an_accepted_exception_is_moved_behind_the_one_that_decides(here: Path) -> None:
    def entry(allow: str, reason: str, last_day: datetime.date = TOMORROW) -> str:
        place = 'endpoint = "/"\n' if reason == "ours" else ""
        return f'[[exception]]\nmetric = "fds"\nallow = "{allow}"\nreason = "{reason}"\n{place}expires = {last_day}\n'

    path = here / "budgets.toml"
    path.write_text(entry("1/1000 connections", "ours") + entry("0/connection", "of all"))
    done = run("baseline", "accept", saved(here, guard=LEAKING))
    assert "the run exceeds none of these budgets" in done.output
    assert [(one.reason, one.allow) for one in load(path).exemptions] == [
        ("of all", "0/connection"),
        ("ours", "1/connection"),
    ]
    path.write_text(entry("1/connection", "ours", TODAY - datetime.timedelta(days=1)))
    done = run("baseline", "accept", here / "run")
    assert "fds per connection: none -> 1 (LOOSENS)" in done.output, "one that is over grants nothing"
    (renewed,) = load(path).exemptions
    assert (renewed.reason, renewed.expires > TODAY) == ("ours", True)


def row(text: str, option: str) -> str:
    """The line of a table that is about an option."""
    return next((line for line in text.splitlines() if line.startswith("|") and f"`{option}" in line), "")


@pytest.mark.parametrize("option", [one for one in guard.params if one.opts[0].startswith("--")], ids=str)
def test_the_guide_has_every_option_with_its_default(option: click.Option) -> None:
    line = row((ROOT / "docs" / "guard.md").read_text(), option.opts[0])
    assert line, f"docs/guard.md says nothing of {option.opts[0]}"
    default = option.get_default(click.Context(guard), call=False)
    if option.show_default is True:
        assert f"`{default}`" in line


def test_the_guides_have_every_fixture_marker_option_and_metric() -> None:
    text = (ROOT / "docs" / "pytest.md").read_text()
    for option in ("--harness-out", "--harness-budget", "--harness-repeat", "--no-leaks"):
        assert row(text, option)
    for name in (
        "(guard)",
        "(no_leaks)",
        "(fake_broker)",
        "(reference_service)",
        "mark.budget(",
        "mark.no_leaks(",
    ):
        assert name in text
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []
    text = (ROOT / "docs" / "budgets.md").read_text()
    words = (*METRICS, *SUBTABLES, *EXCEPTION_FIELDS, *MEMORY_KINDS)
    assert [word for word in words if f"`{word}`" not in text and f"….{word}`" not in text] == []
    example = text.partition("```toml\n")[2].partition("```")[0]
    assert len(loads(Path("budgets.toml"), example).exemptions) == 1
