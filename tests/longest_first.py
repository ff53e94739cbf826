"""Files whose tests take longest start first, so that no worker runs one alone at the end.

pytest-xdist gives whole files to its workers (``--dist loadfile``), in the order of this list when it is run with
``--no-loadscope-reorder``. Seconds are those of ``pytest --durations``; a file that is missing here counts as short.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

SECONDS: Mapping[str, int] = {
    "edges/test_cli.py": 74,
    "edges/test_cli_difficult.py": 58,
    "edges/test_max_time.py": 54,
    "plugin/test_guard_fixture.py": 46,
    "edges/test_cli_guard.py": 44,
    "deploy/test_recipes.py": 43,
    "edges/test_runtime_others.py": 42,
    "sabotage/test_table.py": 41,
    "edges/test_swarm_guard.py": 41,
    "edges/test_soak_resume.py": 40,
    "edges/test_after_verdict.py": 39,
    "edges/test_security_swarm.py": 39,
    "leaks/test_fixed_gives_everything_back.py": 38,
    "history/test_commands.py": 36,
    "edges/test_reference_fixed.py": 36,
    "edges/test_tutorial.py": 33,
    "history/test_notify.py": 32,
    "edges/test_readme.py": 32,
    "plugin/test_plugin.py": 31,
    "edges/test_guides.py": 31,
    "edges/test_reference_defects.py": 29,
    "sabotage/test_services.py": 29,
    "edges/test_event_limit.py": 23,
    "edges/test_reference_page.py": 22,
    "export/test_swarm_figures.py": 22,
    "sabotage/test_profiles_turn_red.py": 21,
    "edges/test_cli_mistakes.py": 20,
    "edges/test_load_that_fails.py": 20,
    "edges/test_probe_remote.py": 20,
    "edges/test_swarm_worker_group.py": 20,
    "export/test_guard_figures.py": 18,
    "history/test_database.py": 18,
    "edges/test_swarm_cycle_queue.py": 18,
    "edges/test_reference_crashes.py": 18,
    "edges/test_http_guard.py": 17,
    "edges/test_settle_clients.py": 17,
    "sabotage/test_guard_turns_red.py": 17,
    "history/test_trend_commands.py": 17,
    "edges/test_runtime_python.py": 17,
    "edges/test_locustfiles.py": 16,
    "edges/test_runtime_guard.py": 16,
    "edges/test_swarm_options.py": 15,
    "reports/test_html.py": 14,
    "edges/test_target_tab.py": 13,
    "edges/test_reproduce_all.py": 13,
    "test_skips.py": 13,
    "edges/test_swarm_end.py": 12,
    "edges/test_swarm_control.py": 12,
    "edges/test_probe_watch.py": 11,
    "edges/test_distributed.py": 11,
    "edges/test_secrets.py": 11,
    "edges/test_runtime_agent.py": 10,
    "edges/test_settle.py": 10,
    "export/test_exports.py": 10,
    "edges/test_swarm_user.py": 10,
    "edges/test_swarm_leaving.py": 10,
}
TESTS = Path(__file__).parent


def seconds(path: Path) -> float:
    """How long the tests of a file take, roughly. Tests of the pure core are the shortest of all."""
    try:
        name = path.relative_to(TESTS).as_posix()
    except ValueError:
        return 0.0
    return SECONDS.get(name, 0.5 if name.startswith("core/") else 5.0)


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file; the order within a file and among equal files stays."""
    items.sort(key=lambda item: -seconds(item.path))
