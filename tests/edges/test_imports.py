"""The imports of each process of the harness: a package that it does not need makes each user wait longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = {"rich", "jinja2"}
LOAD = {"locust", "gevent", "requests", "flask"}
HISTORY = {"sqlalchemy", "alembic", "psycopg"}
FIGURES = {"opentelemetry", "prometheus_client"}
SERVICE = {"starlette", "uvicorn", "sse_starlette", "fastapi", "aiohttp"}
TESTING = {"pytest", "_pytest", "hypothesis"}
NEVER = LOAD | HISTORY | FIGURES | SERVICE | TESTING | {"asyncio", "tomlkit"}
MEASURING = {
    "harness.experiment.run",
    "harness.experiment.trial",
    "harness.swarm.launch",
    "harness.probe.sampler",
}
JUDGING = {"harness.core.judge", "harness.report", "cattrs"}


def imported(*words: str) -> set[str]:
    """The modules that ``python ARGUMENTS`` imports by a statement, and the packages that hold them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        capture_output=True, text=True, timeout=60, cwd=ROOT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    names = [
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    ]
    parts = [name.split(".") for name in names]
    return {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}


BARE = NEVER | SHOWN | MEASURING | JUDGING | {"zmq"}
# Flask and Jinja are for Locust's web UI, which a guard does not have.
SWARM = (BARE | {"fake_broker"}) - (LOAD - {"flask"}) - {"zmq", "cattrs"}


@pytest.mark.parametrize(
    ("words", "needs", "without"),
    [
        ("harness.cli --version", "click", BARE | {"httptools", "ssl"}),
        ("harness.cli --help", "click", BARE | {"httptools", "ssl"}),
        ("harness.cli guard --help", "harness.cli.service_options", BARE),
        ("harness.cli guard --dwel 1s", "harness.cli.service_options", BARE),
        ("harness.cli soak --help", "harness.cli.resume", BARE - JUDGING),
        ("harness.cli judge reports/sample", "harness.core.judge.trial", NEVER | MEASURING | {"zmq"}),
        ("harness.cli report --help", "harness.cli.saved", NEVER | MEASURING | {"zmq"}),
        ("harness.probe --help", "harness.probe.print_readings", BARE | {"click", "ssl"}),
        ("fake_broker --help", "zmq", NEVER | SHOWN | {"harness", "cattrs", "ssl"}),
        ("harness.reference --help", "uvicorn", BARE - SERVICE - {"asyncio", "zmq"}),
        ("harness.swarm.child", "locust", SWARM),
        ("harness.swarm.worker", "locust", SWARM),
    ],
)
def test_a_process_imports_no_more_than_it_needs(words: str, needs: str, without: set[str]) -> None:
    """needs: a module whose import shows that the command got as far as it should."""
    found = imported("-m", *words.split())
    assert needs in found
    assert not found & without


def test_a_guard_without_a_broker_imports_none_and_no_reader_of_a_runtime() -> None:
    found = imported("-c", "import harness.experiment.guard")
    assert {"harness.experiment.trial", "harness.core.judge.trial"} <= found
    readers = {f"harness.runtime.{name}" for name in ("go", "jvm", "node")}
    exporters = {"wsgiref", "harness.export.otlp", "harness.export.prometheus"}
    assert not found & (NEVER | {"zmq", "fake_broker.chain"} | readers | exporters)


PLUGIN = "told = []\n\ndef tell(event):\n    told.append(type(event).__name__)\n"
INFO = """[gevent.plugins.monkey.will_patch_module]
plugin = own_plugin:tell
[gevent.plugins.monkey.did_patch_all]
plugin = own_plugin:tell
"""
PATCHES = """
import importlib.metadata as metadata
from {module} import {name} as patch
read, times = metadata.entry_points, []
metadata.entry_points = counted = lambda **group: (times.append(1), read(**group))[1]
patch()
assert metadata.entry_points is counted
import own_plugin, socket, gevent.socket
assert socket.socket is gevent.socket.socket
print(sum(times), *own_plugin.told)
"""


def test_the_swarm_asks_for_plug_ins_of_gevent_once_and_calls_the_same(tmp_path: Path) -> None:
    (tmp_path / "own_plugin.py").write_text(PLUGIN)
    info = tmp_path / "own_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(INFO)

    def patched_names(module: str, name: str) -> list[str]:
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + PATCHES.format(module=module, name=name)
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
        ).stdout.split()

    times, *ours = patched_names("harness.swarm.patching", "patch_before_imports")
    most, *theirs = patched_names("gevent.monkey", "patch_all")
    assert ours == theirs
    assert len(ours) > 5
    assert (int(times), int(most) > 10) == (1, True)


@pytest.mark.parametrize("module", ["child", "worker"])
def test_garbage_is_collected_once_everything_is_imported(module: str) -> None:
    code = (
        f"import gc, harness.swarm.{module}, locust; assert gc.is_tracked(locust.__dict__); "
        "print(gc.isenabled(), any(each is locust.__dict__ for each in gc.get_objects()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True False\n", "what was imported is never looked at again"


WEB_LATER = """
import sys
from harness.swarm.patching import patch_before_imports, web_module
patch_before_imports()
import locust.env
assert "flask" not in sys.modules
from locust.web import logger
import flask, locust.web
from locust.web import WebUI
assert locust.env.WebUI is WebUI is web_module().WebUI
class Own(WebUI): pass
print(logger.name)
"""
WEB_STARTED = """
import sys
from harness.swarm.patching import patch_before_imports
patch_before_imports()
from locust.env import Environment
ui = Environment().create_web_ui("127.0.0.1", 0, delayed_start=True)
print(type(ui).__module__)
"""


@pytest.mark.parametrize("code", [WEB_LATER, WEB_STARTED], ids=["a name of it", "a web UI"])
def test_the_web_ui_of_locust_is_imported_once_something_in_it_is_used(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.stdout, done.returncode) == ("locust.web\n", 0), done.stderr


def test_a_locustfile_may_derive_a_class_from_the_web_ui_of_locust(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from locust import User\nfrom locust.web import WebUI\nclass Own(WebUI): pass\nclass A(User): pass\n"
    )
    code = (
        "from harness.swarm.patching import patch_before_imports; patch_before_imports()\n"
        "from harness.swarm.own_users import OwnUsers; from pathlib import Path\n"
        f"print(OwnUsers(Path({str(path)!r}), 'http://127.0.0.1:1').environment.user_classes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert "own.A" in done.stdout, done.stderr
