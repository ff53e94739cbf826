"""Files whose tests take longest start first, so that no worker runs one alone at the end.

pytest-xdist gives whole files to its workers (``--dist loadfile``), in the order of this list when it is run with
``--no-loadscope-reorder``. Seconds are those of ``pytest --durations``; a file that is missing here counts as short.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

SECONDS: Mapping[str, int] = {
    "plugin/test_guard_fixture.py": 96,
    "edges/test_tutorial.py": 36,
    "plugin/test_plugin.py": 71,
    "sabotage/test_table.py": 64,
    "edges/test_cli_guard.py": 55,
    "edges/test_cli.py": 48,
    "edges/test_runtime_others.py": 48,
    "history/test_commands.py": 45,
    "edges/test_soak_resume.py": 58,
    "edges/test_runtime_python.py": 35,
    "export/test_swarm_figures.py": 15,
    "export/test_guard_figures.py": 15,
    "export/test_exports.py": 10,
    "deploy/test_recipes.py": 25,
    "edges/test_max_time.py": 27,
    "history/test_trend_commands.py": 26,
    "edges/test_cli_difficult.py": 25,
    "edges/test_security_swarm.py": 20,
    "edges/test_swarm_options.py": 20,
    "edges/test_swarm_guard.py": 20,
    "history/test_notify.py": 20,
    "edges/test_guides.py": 18,
    "edges/test_readme.py": 18,
    "reports/test_html.py": 18,
    "sabotage/test_services.py": 17,
    "edges/test_after_verdict.py": 16,
    "edges/test_secrets.py": 15,
    "edges/test_reference_defects.py": 15,
    "edges/test_http_guard.py": 13,
    "edges/test_swarm_endurance.py": 12,
    "edges/test_runtime_guard.py": 12,
    "edges/test_attack.py": 12,
    "edges/test_load_that_fails.py": 12,
    "edges/test_swarm_crew.py": 11,
    "leaks/test_fixed_gives_everything_back.py": 11,
    "sabotage/test_profiles_turn_red.py": 11,
    "edges/test_cli_mistakes.py": 10,
    "sabotage/test_guard_turns_red.py": 10,
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
