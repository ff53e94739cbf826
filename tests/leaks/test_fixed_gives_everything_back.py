"""What CI guards: the fixed reference service stays within budgets.toml."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from harness.config import budget_for
from harness.core.metric import Key
from harness.core.verdict import Outcome
from harness.experiment.options import with_options
from harness.experiment.reproduce import LoadOverrides, describe, setup_for
from harness.experiment.run import Run
from harness.experiment.target_runtime import RuntimeSetup

BUDGETS = Path(__file__).parents[2] / "budgets.toml"


def test_the_fixed_profile_is_bounded(tmp_path: Path) -> None:
    made = Run(command="test", seed=1, out=tmp_path / "run", interrupt=threading.Event())
    setup = replace(
        setup_for(describe()["fixed"], LoadOverrides(max_seconds=100.0)), runtime=RuntimeSetup("python")
    )
    budget, _ = budget_for(BUDGETS, endpoints=setup.service.paths, profile="fixed")
    # Counted inside, after a collection: nothing is kept, to a tenth of an object per connection. A run passes without
    # this bound where a cache fills late; required, it takes the time that the bound needs.
    budget = replace(budget, require_stream={"memory/objects": 0.1})
    trial = made.trial(replace(setup, request=with_options(setup.request, budget=budget)))
    verdict = trial.verdict
    assert verdict is not None
    assert verdict.outcome is Outcome.BOUNDED, verdict.explain()
    bounds = {(bound.metric, bound.kind): bound for bound in verdict.bounds if bound.per_stream}
    for metric in ("fds", "threads"):
        assert bounds[metric, ""].at_most <= budget.growth[metric] + trial.sensitivity
    loads = [o for o in trial.observations if o.levels]
    assert loads[-1].levels.get(Key("fds", "close-wait"), 0) == 0
    assert loads[-1].levels.get(Key("fds", "tcp-in"), 0) == 0
    assert bounds["memory", "objects"].status in ("bounded", "retention")
    assert bounds["memory", "objects"].at_most <= 0.1
    opened = sum(o.ledger.opened for o in loads[1:])
    grown = loads[-1].levels[Key("memory", "anonymous")] - loads[0].levels[Key("memory", "anonymous")]
    assert grown / opened <= budget.growth["memory"]
    assert max(o.levels[Key("fds")] for o in loads) <= budget.ceilings["fds"]
