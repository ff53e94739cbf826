"""``harness baseline accept`` on the file that ``harness init`` writes: by unit, and judged again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.cli.init import BUDGETS
from harness.config import load, loads
from harness.core.budget import Budget, shared
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.plan import Goal
from harness.core.record import RunRecord, Trial
from harness.core.verdict import Outcome
from harness.experiment.reports import uncovered
from harness.store.run_dir import RunDirectory
from tests.core.series import CycleSums, play

GOAL = Goal(connections=300, concurrency=50, dwell=1.0, paths=("/",), cycles=20, max_seconds=200.0)
BLOCKS, BYTES = Key("memory", "blocks"), Key("memory", "heap-bytes")


def kept(rates: Mapping[Key, float]) -> Trial:
    """A finished run of a service in which each connection retains this many units."""
    start = {Key("fds"): 10.0, Key("threads"): 2.0, BYTES: 1e6, BLOCKS: 1e4}

    def level(did: CycleSums) -> Mapping[Key, float]:
        return {key: at + rates.get(key, 0.0) * did.connections for key, at in start.items()}

    return play(level, GOAL)[0]


def saved(folder: Path, one: Trial) -> Path:
    with RunDirectory.create(folder / "run", "the-run") as directory:
        judged = replace(one, verdict=judge(one))
        directory.checkpoint(RunRecord("the-run", "x", "2026-01-01T00:00:00+00:00", 0, (judged,)))
        return directory.path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "budgets.toml").write_text(BUDGETS)
    return tmp_path


def accept(run: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["baseline", "accept", str(run), *options])


def test_a_count_is_not_compared_with_the_bytes_of_its_metric(here: Path) -> None:
    leaking = kept({BLOCKS: 3.0, BYTES: 200.0})
    budget = loads(here / "budgets.toml", BUDGETS).common
    judged = replace(leaking, budget=budget)
    judged = replace(judged, verdict=judge(judged))
    assert judged.verdict is not None
    assert judged.verdict.outcome is Outcome.LEAKING
    (said,) = uncovered(judged)
    assert (
        "memory per connection is in bytes and does not cover memory/blocks, which is counted in blocks"
        in said.text
    )
    done = accept(saved(here, leaking))
    assert done.exit_code == 0, done.output
    assert "memory/blocks per connection: none -> " in done.output
    assert "memory/heap-bytes" not in done.output, "200 B of the 1 KiB that init grants"
    assert [one.metric for one in load(here / "budgets.toml").exemptions] == ["memory/blocks"]
    again = accept(here / "run")
    assert (again.exit_code, "nothing changes" in again.output) == (0, True), again.output


def test_a_run_that_fails_even_so_is_exit_1_and_gives_the_reason(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge that no budget satisfies replaces a rule that ``accept`` does not know."""
    run = saved(here, kept({BLOCKS: 3.0}))
    monkeypatch.setattr("harness.cli.baseline.judge", lambda one: judge(replace(one, budget=Budget())))
    done = accept(run)
    assert done.exit_code == 1, done.output
    assert "with these budgets the run is still leaking" in done.output


def test_endpoints_share_a_line_only_with_kinds_in_its_unit() -> None:
    both = shared((Budget(growth={"memory": 1024.0}), Budget(growth={"memory/blocks": 2.0})))
    assert both.growth["memory/blocks"] == 1.0, "the first endpoint grants no block at all"


def test_a_kind_in_another_unit_is_named_with_its_unit(here: Path) -> None:
    (here / "budgets.toml").write_text('[budget]\n"memory/blocks" = "16 KiB/connection"\n')
    done = CliRunner().invoke(cli, ["budget", "check"])
    assert "budgets.toml, line 2: memory/blocks" in str(done.exception)
    assert "memory/blocks is counted in blocks" in str(done.exception)
