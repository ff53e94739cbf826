"""Files whose tests take longest start first, so that no worker runs one alone at the end.

pytest-xdist gives whole files to its workers (``--dist loadfile``), in the order of this list when it is run with
``--no-loadscope-reorder``. Seconds are those of ``pytest --durations``; a file that is missing here counts as short.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

SECONDS: Mapping[str, int] = {
    "edges/test_cli.py": 90,
    "sabotage/test_guard_turns_red.py": 60,
    "edges/test_cli_difficult.py": 59,
    "edges/test_cli_mistakes.py": 56,
    "edges/test_runtime_others.py": 52,
    "edges/test_max_time.py": 43,
    "edges/test_cli_guard.py": 42,
    "edges/test_soak_resume.py": 41,
    "edges/test_after_verdict.py": 39,
    "edges/test_guides.py": 39,
    "plugin/test_guard_fixture.py": 38,
    "edges/test_security_swarm.py": 37,
    "history/test_commands.py": 35,
    "plugin/test_plugin.py": 35,
    "edges/test_reference_defects.py": 34,
    "edges/test_tutorial.py": 33,
    "edges/test_probe_remote.py": 30,
    "fake_broker/test_broker_process.py": 28,
    "edges/test_reference_page.py": 27,
    "sabotage/test_services.py": 26,
    "sabotage/test_table.py": 25,
    "export/test_swarm_figures.py": 25,
    "history/test_database.py": 25,
    "edges/test_reference_fixed.py": 24,
    "edges/test_runtime_python.py": 22,
    "edges/test_swarm_options.py": 22,
    "leaks/test_fixed_gives_everything_back.py": 22,
    "edges/test_trial_steps.py": 22,
    "deploy/test_recipes.py": 20,
    "edges/test_swarm_guard.py": 20,
    "sabotage/test_profiles_turn_red.py": 20,
    "edges/test_imports.py": 19,
    "edges/test_runtime_memory.py": 18,
    "export/test_guard_figures.py": 18,
    "edges/test_swarm_worker_group.py": 18,
    "reports/test_html.py": 18,
    "edges/test_locustfiles.py": 15,
    "history/test_notify.py": 15,
    "edges/test_secrets.py": 15,
    "edges/test_swarm_cycle_queue.py": 15,
    "edges/test_settle_clients.py": 15,
    "edges/test_http_guard.py": 15,
    "edges/test_runtime_guard.py": 15,
    "edges/test_runtime_agent.py": 15,
    "deploy/test_deploy.py": 14,
    "edges/test_reference_crashes.py": 14,
    "edges/test_target_tab.py": 14,
    "edges/test_while_connected.py": 13,
    "edges/test_store_folder_limit.py": 13,
    "edges/test_swarm_control.py": 13,
    "edges/test_swarm_endurance.py": 13,
    "edges/test_swarm_end.py": 13,
    "edges/test_reproduce_all.py": 13,
    "edges/test_security_broker.py": 12,
    "fake_broker/test_broker_transport.py": 10,
    "edges/test_probe_recipes.py": 10,
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
