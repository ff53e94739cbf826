"""Python counted from inside: clean servers stay where they are, one leaked thing per connection is one."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.errors import ProbeError
from harness.process.child import Child
from harness.runtime import channel
from harness.runtime.counters import (
    ASYNCIO_TASKS,
    BLOCKS,
    GREENLETS,
    NO_TIME_FOR_CONTAINERS,
    OBJECTS,
    Counters,
    Unavailable,
)
from harness.runtime.python import PythonCounters, prepare_env
from harness.target.spawn import free_port
from tests.edges.probe_target import ScriptedProcess
from tests.edges.servers.clients import line_of, wait_for
from tests.edges.servers.proof import SERVERS, clean_rates, cycle_of, rates, server, settled_counters

# A reading's own: interned strings and the like; the judge allows the same.
NOISE = {OBJECTS: 0.0, BLOCKS: 8.0}
CLEAN = 0.05  # per connection
AGAIN = pytest.mark.soak(reason="the same code as the case that is a short test")
SHARE = 0.05  # of the true rate


@contextmanager
def python_server(script: str, folder: Path, *extra: str) -> Iterator[tuple[PythonCounters, int]]:
    env = prepare_env(os.environ, folder / "agents")
    with server([sys.executable, str(SERVERS / script), *extra], folder, env) as (child, port):
        reader = PythonCounters(folder / "agents", child.pid)
        assert isinstance(reader.probe(), Counters)
        yield reader, port


@pytest.mark.parametrize(
    ("script", "extra"),
    [
        ("asyncio_server.py", ()),
        pytest.param("asyncio_server.py", ("--uvloop",), marks=pytest.mark.soak),
        pytest.param("thread_server.py", (), marks=AGAIN),
        pytest.param("gevent_server.py", (), marks=AGAIN),
    ],
    ids=["asyncio", "uvloop", "threads", "gevent"],
)
def test_a_clean_service_does_not_grow_and_one_object_per_connection_is_counted(
    script: str, extra: tuple[str, ...], tmp_path: Path
) -> None:
    with python_server(script, tmp_path, *extra) as (reader, port):
        clean = clean_rates(reader, cycle_of(port, "/clean"), NOISE, CLEAN)
        assert all(abs(rate) <= CLEAN for rate in clean.values()), clean
        leaky = rates(reader, cycle_of(port, "/object"), NOISE)
        assert leaky[OBJECTS] == pytest.approx(1.0, rel=SHARE)
        assert leaky[BLOCKS] == pytest.approx(1.0, rel=SHARE)
        found = reader.attribute(cycle_of(port, "/object"))
        planted = line_of(SERVERS / script, "# planted object")
        assert found.growths[0].site == f"{SERVERS / script}:{planted}"
        assert found.growths[0].per_connection == pytest.approx(1.0, rel=SHARE)
        # The list that holds them names their type: a growth of the type beside it would say the same again.
        [held] = [growth for growth in found.growths if "__main__.Kept" in growth.site]
        assert (held.site, held.kind) == ("`__main__.Kept` in `KEPT`, a list", "container")
        assert held.per_connection == pytest.approx(1.0, rel=SHARE)
        assert not reader.read().notes


def test_a_search_without_time_leaves_the_containers_out_and_reports_it(tmp_path: Path) -> None:
    with python_server("asyncio_server.py", tmp_path) as (reader, port):
        found = reader.attribute(cycle_of(port, "/object"), time_left=lambda: 0.0)
    planted = line_of(SERVERS / "asyncio_server.py", "# planted object")
    assert found.growths[0].site == f"{SERVERS / 'asyncio_server.py'}:{planted}"
    assert not any(growth.kind == "container" for growth in found.growths)
    assert NO_TIME_FOR_CONTAINERS in found.notes


def test_a_leaked_buffer_is_found_with_its_bytes(tmp_path: Path) -> None:
    with python_server("asyncio_server.py", tmp_path) as (reader, port):
        leaky = rates(reader, cycle_of(port, "/bytes"), NOISE)
        assert leaky[BLOCKS] == pytest.approx(2.0, rel=SHARE)  # the object and its buffer
        assert leaky[OBJECTS] == pytest.approx(0.0, abs=CLEAN)  # a bytearray is unknown to the collector
        first = reader.attribute(cycle_of(port, "/bytes")).growths[0]
        assert first.site.endswith(
            f"asyncio_server.py:{line_of(SERVERS / 'asyncio_server.py', '# planted bytes')}"
        )
        assert first.bytes_per_connection == pytest.approx(2048 + 57, rel=SHARE)


@pytest.mark.parametrize(
    ("script", "path", "kind", "key"),
    [
        ("asyncio_server.py", "/task", "task", ASYNCIO_TASKS),
        ("gevent_server.py", "/greenlet", "greenlet", GREENLETS),
        ("thread_server.py", "/thread", "thread", None),
    ],
)
def test_a_blocked_thread_is_found_at_the_line_where_it_waits(
    script: str, path: str, kind: str, key: object, tmp_path: Path
) -> None:
    with python_server(script, tmp_path) as (reader, port):
        before = settled_counters(reader, NOISE)
        cycle = cycle_of(port, path, 100)
        found = reader.attribute(cycle)
        after = settled_counters(reader, {key: 0.0} if key else {})  # type: ignore[dict-item]
        planted = line_of(SERVERS / script, f"# planted {kind}")
        first = found.growths[0]
        assert first.site.startswith(f"{SERVERS / script}:{planted} in forgotten"), found.lines()
        assert (first.kind, first.per_connection) == (kind, 1.0)
        if key is not None:
            assert after[key] - before[key] == 200  # type: ignore[index]
        else:
            assert after.names["Thread-N (forgotten)"] == 200


# What one cycle does, and whether its line is a place where the service grows.
ENLARGES = {
    "in every cycle": ("kept[0].extend(bytes(1 << 20))", "kept[0].extend(bytes(1 << 20))", True),
    "in the first": ("kept[0].extend(bytes(1 << 20))", "pass", False),
    "in the second": ("pass", "kept[0].extend(bytes(1 << 20))", False),
}


@pytest.mark.parametrize(("first", "second", "grows"), ENLARGES.values(), ids=ENLARGES)
def test_a_container_that_was_enlarged_once_is_no_place_that_grows(
    first: str, second: str, grows: bool, tmp_path: Path
) -> None:
    """One block of 5 kB per connection: as a table that has its size in the middle of the search for a leak."""
    env = prepare_env({}, tmp_path / "agents")
    cycles = iter((first, second))
    with ScriptedProcess(prefix=["env", *(f"{name}={value}" for name, value in env.items())]) as scripted:
        reader = PythonCounters(tmp_path / "agents", scripted.pid)
        wait_for(lambda: isinstance(reader.probe(), Counters), "the agent")
        scripted.run("kept.append(bytearray(1 << 20))")

        def cycle() -> int:
            scripted.run(next(cycles))
            return 200

        sites = [growth.site for growth in reader.attribute(cycle).growths]
    assert [site for site in sites if site.startswith("told:")] == (["told:1"] if grows else [])


@pytest.mark.soak
def test_workers_of_uvicorn_are_summed(tmp_path: Path) -> None:
    port = free_port()
    env = prepare_env(os.environ, tmp_path / "agents")
    env["PYTHONPATH"] += f":{SERVERS}"
    argv = [
        sys.executable,
        "-m",
        "uvicorn",
        "asgi_app:app",
        "--port",
        str(port),
        "--workers",
        "2",
        "--http",
        "h11",
    ]
    with Child.spawn(
        [*argv, "--log-level", "warning"], log=tmp_path / "log", name="uvicorn", env=env
    ) as child:
        _summed(child, port, tmp_path / "agents", "asgi_app.py")


@pytest.mark.soak(reason="6 s of a core; the sum over a tree of processes is a short test of the probe")
def test_workers_of_gunicorn_are_summed(tmp_path: Path) -> None:
    port = free_port()
    env = prepare_env(os.environ, tmp_path / "agents")
    argv = [sys.executable, "-m", "gunicorn", "--chdir", str(SERVERS), "wsgi_app:app", "-w", "2", "-b"]
    with Child.spawn([*argv, f"127.0.0.1:{port}"], log=tmp_path / "log", name="gunicorn", env=env) as child:
        _summed(child, port, tmp_path / "agents", "wsgi_app.py")


def _summed(child: Child, port: int, directory: Path, script: str) -> None:
    reader = PythonCounters(directory, child.pid)
    wait_for(lambda: _accepts(port), "the server's port")
    wait_for(lambda: isinstance(first := reader.probe(), Counters) and len(first.processes) >= 3, "workers")
    clean = clean_rates(reader, cycle_of(port, "/clean"), NOISE, CLEAN)
    assert all(abs(rate) <= CLEAN for rate in clean.values()), clean
    leaky = rates(reader, cycle_of(port, "/object"), NOISE)
    assert leaky[OBJECTS] == pytest.approx(1.0, rel=SHARE)
    found = reader.attribute(cycle_of(port, "/object"))
    planted = line_of(SERVERS / script, "# planted object")
    assert found.growths[0].site.endswith(f"/{script}:{planted}"), found.lines()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def test_a_target_that_ends_is_a_gap_and_not_a_zero(tmp_path: Path) -> None:
    with python_server("asyncio_server.py", tmp_path) as (reader, _):
        os.kill(reader.read().processes[0], 9)
        wait_for(lambda: not Path(f"/proc/{reader.pid}/exe").exists(), "the end")
        with pytest.raises(ProbeError, match="has the target exited"):
            reader.read()


def test_an_interrupt_while_tracing_starts_leaves_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with python_server("asyncio_server.py", tmp_path) as (reader, port):
        ask = reader._ask

        def interrupted(command: str) -> list[channel.Answer]:
            answers = ask(command)
            if command.startswith("trace"):
                raise KeyboardInterrupt
            return answers

        monkeypatch.setattr(reader, "_ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.attribute(cycle_of(port, "/clean"))
        assert [answer.body["tracing"] for answer in ask("read")] == [False]


def test_nothing_to_read_gives_the_reason(tmp_path: Path) -> None:
    with Child.spawn(
        [sys.executable, "-c", "import signal; signal.pause()"], log=tmp_path / "log", name="x"
    ) as child:
        found = PythonCounters(tmp_path / "agents", child.pid).probe()
        assert isinstance(found, Unavailable)
        assert "was not started by the harness" in found.reason
