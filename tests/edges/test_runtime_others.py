"""Go, Node and the JVM counted from inside: clean servers do not grow, and a leak is counted and placed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.core.errors import ProbeError
from harness.core.note import NoteKind, of_kind
from harness.runtime import channel, counters, jvm_socket, node
from harness.runtime.counters import (
    GOROUTINES,
    HANDLES,
    HEAP_BYTES,
    NO_TIME_FOR_CONTAINERS,
    OBJECTS,
    Counters,
    RuntimeReader,
    Unavailable,
)
from harness.runtime.go import GoCounters
from harness.runtime.jvm import THREADS, JvmCounters
from harness.runtime.node import NodeCounters
from harness.target.spawn import free_port
from tests.edges.command_line import wait_for
from tests.edges.servers.clients import DEADLINE, line_of
from tests.edges.servers.proof import CONNECTIONS, SERVERS, clean_rates, cycle_of, rates, server
from tests.edges.test_runtime_agent import NOBODY, refused

CLEAN = 0.05  # per connection
AGAIN = pytest.mark.soak(reason="the same code as the case that is a short test")
SHARE = 0.05  # of the true rate
GO = SERVERS / "go" / "main.go"
JAVA = SERVERS / "java" / "SseServer.java"
NODE = SERVERS / "server.js"
CONTAINERS = SERVERS / "containers.js"
# Go keeps the entries of goroutines that waited on a channel (runtime.sudog), up to 128 for each processor: its
# count of objects moves by ±60, however many connections there were. So many that this is not 5 % of them:
GO_CONNECTIONS = 1500
# V8 and HotSpot add objects of their own in some cycles, mostly 16 to 20 and up to 80. So many that 20 are 2 % of them:
OBJECT_CONNECTIONS = 1000

# The first build of all compiles Go's own library: 22 s of CPU, which a busy machine gives slowly.
pytestmark = pytest.mark.timeout(400)
BUILT = 300  # seconds at most

needs_go = pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
NODE_NOISE = {HANDLES: 0.0, OBJECTS: 3.0}
JVM_NOISE = {OBJECTS: 15.0, THREADS: 0.0}
needs_java = pytest.mark.skipif(not shutil.which("javac"), reason="no JDK is installed")


@pytest.fixture(scope="session")
def go_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("go") / "server"
    subprocess.run(["go", "build", "-o", str(binary), str(GO)], check=True, timeout=BUILT)
    return binary


@pytest.fixture(scope="session")
def java_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("java")
    # The compiler runs for a second: an optimising JIT and a parallel collector cost it more than they save.
    javac = ["javac", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]
    subprocess.run([*javac, "-d", str(folder), str(JAVA)], check=True, timeout=BUILT)
    return folder


@contextmanager
def go_server(binary: Path, folder: Path, *, every_byte: bool = False) -> Iterator[tuple[RuntimeReader, int]]:
    env = {**os.environ, **({"GODEBUG": "memprofilerate=1"} if every_byte else {})}
    with server([str(binary)], folder, env) as (child, port):
        reader = GoCounters(child.pid, f"http://127.0.0.1:{port}")
        assert isinstance(reader.probe(), Counters)
        yield reader, port


@contextmanager
def node_server(folder: Path) -> Iterator[tuple[RuntimeReader, int]]:
    env = node.prepare_env(os.environ, folder / "agents")
    with server(["node", str(NODE)], folder, env) as (child, port):
        reader = NodeCounters(folder / "agents", child.pid)
        assert isinstance(reader.probe(), Counters)
        yield reader, port


@contextmanager
def java_server(classes: Path, folder: Path) -> Iterator[tuple[RuntimeReader, int]]:
    argv = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(classes), "SseServer"]
    with server(argv, folder) as (child, port):
        reader = JvmCounters(child.pid)
        assert isinstance(reader.probe(), Counters)
        yield reader, port


@needs_go
def test_go_goroutines_are_exact_and_a_leaked_one_is_found_at_its_line(
    go_binary: Path, tmp_path: Path
) -> None:
    with go_server(go_binary, tmp_path) as (reader, port):
        clean = rates(reader, cycle_of(port, "/clean"), {GOROUTINES: 0.0})
        assert abs(clean[GOROUTINES]) <= CLEAN
        leaky = rates(reader, cycle_of(port, "/goroutine"), {GOROUTINES: 0.0})
        assert leaky[GOROUTINES] == pytest.approx(1.0, rel=SHARE)
        first = reader.attribute(cycle_of(port, "/goroutine")).growths[0]
        assert first.kind == "goroutine"
        planted = f"main.go:{line_of(GO, '// planted goroutine')} in main.forgotten"
        assert first.site.endswith(f"{planted} (waiting in chan receive)"), first.site
        assert first.per_connection == pytest.approx(1.0, rel=SHARE)


@needs_go
@pytest.mark.soak(reason="6 s of a core; goroutines and a leaked slice are short tests")
def test_go_objects_do_not_grow_and_one_slice_per_connection_is_counted(
    go_binary: Path, tmp_path: Path
) -> None:
    with go_server(go_binary, tmp_path) as (reader, port):
        noise = {OBJECTS: 5.0, GOROUTINES: 0.0}
        clean = clean_rates(reader, cycle_of(port, "/clean", GO_CONNECTIONS), noise, CLEAN)
        assert all(abs(rate) <= CLEAN for rate in clean.values()), clean
        leaky = rates(reader, cycle_of(port, "/slice", GO_CONNECTIONS), noise)
        assert leaky[OBJECTS] == pytest.approx(1.0, rel=SHARE)


@needs_go
def test_go_a_leaked_slice_is_found_with_its_bytes(go_binary: Path, tmp_path: Path) -> None:
    with go_server(go_binary, tmp_path, every_byte=True) as (reader, port):
        found = reader.attribute(cycle_of(port, "/slice"))
        first = found.growths[0]
        assert first.site.endswith(f"main.go:{line_of(GO, '// planted slice')} in main.keep"), found.lines()
        assert first.per_connection == pytest.approx(1.0, rel=SHARE)
        # Size class, and the slice of slices.
        assert first.bytes_per_connection == pytest.approx(208, rel=0.2)


@needs_node
@pytest.mark.soak(
    reason="a reading of a Node is a collection of its whole heap: a dozen take four seconds of a core"
)
def test_node_a_clean_server_stays(tmp_path: Path) -> None:
    with node_server(tmp_path) as (reader, port):
        clean = clean_rates(reader, cycle_of(port, "/clean"), NODE_NOISE, CLEAN, late_step=True)
        assert all(abs(rate) <= CLEAN for rate in clean.values()), clean


@needs_node
@pytest.mark.parametrize(
    ("path", "key", "mark"),
    [
        ("/object", OBJECTS, "// planted object"),
        pytest.param("/timer", HANDLES, "// planted timer", marks=AGAIN),
    ],
)
def test_node_counts_are_exact_and_the_planted_line_is_first(
    path: str, key: object, mark: str, tmp_path: Path
) -> None:
    with node_server(tmp_path) as (reader, port):
        connections = CONNECTIONS if key is HANDLES else OBJECT_CONNECTIONS
        leaky = rates(reader, cycle_of(port, path, connections), NODE_NOISE)
        if key is HANDLES:
            assert leaky[HANDLES] == pytest.approx(1.0, rel=SHARE)
        else:
            assert leaky[OBJECTS] == pytest.approx(1.0, rel=SHARE)
        found = reader.attribute(cycle_of(port, path))
        assert f"{NODE}:" in found.growths[0].site, found.lines()
        if key is HANDLES:
            assert found.growths[0].site.endswith(f"server.js:{line_of(NODE, mark)} in watch (Timeout)")
            assert found.growths[0].per_connection == pytest.approx(1.0, rel=SHARE)
        else:
            assert found.growths[0].site.endswith(f"server.js:{line_of(NODE, mark)} in keep"), found.lines()
            assert found.growths[0].per_connection == pytest.approx(1.0, rel=SHARE)
            assert found.growths[1].site.startswith("`Kept` in "), found.lines()


@needs_node
@pytest.mark.parametrize("kind", ["file", pytest.param("later", marks=AGAIN)])
def test_a_bare_descriptor_of_a_node_is_found_at_the_line_that_opens_it(kind: str, tmp_path: Path) -> None:
    def opener() -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/clean", timeout=DEADLINE) as answer:
            return str(answer.headers["X-Open"])

    with node_server(tmp_path) as (reader, port):
        found = reader.attribute(cycle_of(port, f"/{kind}", 60))
        first = found.growths[0]
        assert f"server.js:{line_of(NODE, f'// planted {kind}')} in open" in first.site, found.lines()
        assert first.site.endswith("(FileDescriptor)")
        assert first.per_connection == pytest.approx(1.0, rel=SHARE)
        held = [growth.site for growth in found.growths if growth.kind == "container"]
        assert not any("string" in site for site in held), "the agent's own record, a Map of stacks, is none"
        closed = reader.attribute(cycle_of(port, "/closed", 60), time_left=lambda: 0.0)
        assert not any("FileDescriptor" in growth.site for growth in closed.growths), closed.lines()
        assert opener() == "Node", "the functions of Node are back in their place"


@needs_node
def test_a_search_of_a_node_without_time_leaves_the_containers_out_and_reports_it(tmp_path: Path) -> None:
    with node_server(tmp_path) as (reader, port):
        found = reader.attribute(cycle_of(port, "/object"), time_left=lambda: 0.0)
    assert not any(growth.kind == "container" for growth in found.growths)
    assert NO_TIME_FOR_CONTAINERS in found.notes


@needs_node
def test_every_kind_of_holder_of_a_nodes_growth_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "MAX_PLACES", 20)
    env = node.prepare_env(os.environ, tmp_path / "agents")
    with server(["node", str(CONTAINERS)], tmp_path, env) as (child, port):
        reader = NodeCounters(tmp_path / "agents", child.pid)
        assert isinstance(reader.probe(), Counters)
        for _ in range(3):
            found = reader.attribute(cycle_of(port, "/", 60))
            if not of_kind(found.notes, NoteKind.PARTIAL):
                break  # a machine that is busy may leave the agent too little time
    sites = [growth.site for growth in found.growths if growth.kind == "container"]
    assert set(sites) >= {
        "`Order` in `Hub.#orders`, a Set",
        "`Order` in `byName`, an object",
        "`Order` in `copied`, an array",
    }, found.lines()
    lines = [growth.site for growth in found.growths if growth.kind == "line"]
    for mark in ("private field", "dictionary", "copy"):
        planted = f"containers.js:{line_of(CONTAINERS, f'// planted {mark}')} in "
        assert any(planted in line for line in lines), (mark, found.lines())


@needs_node
def test_a_running_node_is_read_over_its_inspector_or_reported_without_one(tmp_path: Path) -> None:
    with server(["node", str(NODE)], tmp_path) as (child, _):
        found = NodeCounters(tmp_path / "agents", child.pid, shared=True).probe()
    assert isinstance(found, Unavailable)
    assert "start it with --inspect, or let the harness start it" in found.reason
    with server(["node", f"--inspect=127.0.0.1:{free_port()}", str(NODE)], tmp_path) as (child, _):
        found = NodeCounters(tmp_path / "agents", child.pid, shared=True).probe()
    assert isinstance(found, Counters), found
    assert found.processes == (child.pid,)
    assert found[OBJECTS] > 1000


@needs_node
def test_an_interrupt_while_node_starts_to_trace_leaves_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with node_server(tmp_path) as (reader, port):
        assert isinstance(reader, NodeCounters)
        ask = reader._ask

        def interrupted(command: str) -> list[channel.Answer]:
            if command != "trace":
                return ask(command)
            # The interrupt arrives while the request is under way, so its answer is not read.
            for path in (tmp_path / "agents").glob("node-*.sock"):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(path))
                    connection.sendall(b"trace\n")
            raise KeyboardInterrupt

        monkeypatch.setattr(reader, "_ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.attribute(cycle_of(port, "/clean"))
        with pytest.raises(ProbeError, match="not tracing"):
            ask("sites")


@needs_node
@pytest.mark.parametrize(
    "program",
    [
        "console.log('out'); console.error('err'); process.exitCode = 7",
        "console.log('out'); throw new Error('said')",
        "process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 9000)",
        "process.on('SIGUSR2', () => { console.log('handled'); process.exit(4) });"
        "process.kill(process.pid, 'SIGUSR2'); setTimeout(() => {}, 9000)",
        "console.log(process.getActiveResourcesInfo(), require('fs').openSync('/dev/null'), typeof gc)",
        "const { spawnSync } = require('child_process');"
        "console.log(spawnSync(process.execPath, ['-p', '6 * 7']).stdout.toString())",
    ],
    ids=["exit-code", "exception", "signal", "handler", "resources", "child"],
)
def test_output_and_exit_of_a_node_are_unchanged(program: str, tmp_path: Path) -> None:
    def run(env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
        done = subprocess.run(["node", "-e", program], env=env, capture_output=True, timeout=30, check=False)
        return done.returncode, done.stdout, done.stderr

    assert run(node.prepare_env(os.environ, tmp_path / "agents")) == run(os.environ)


@needs_node
def test_a_node_process_that_exits_removes_its_socket(tmp_path: Path) -> None:
    env = node.prepare_env(os.environ, tmp_path / "agents")
    seen = "console.log(require('fs').readdirSync(process.env.HARNESS_RUNTIME_DIRECTORY).length)"
    argv = ["node", "-e", f"setTimeout(() => {{ {seen} }}, 100)"]
    done = subprocess.run(argv, env=env, capture_output=True, timeout=30, check=True)
    assert done.stdout == b"1\n"
    assert not list((tmp_path / "agents").iterdir())


@needs_node
def test_the_socket_of_a_node_is_private(tmp_path: Path) -> None:
    with node_server(tmp_path):
        (path,) = (tmp_path / "agents").glob("node-*.sock")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        if os.geteuid() != 0:
            pytest.skip("to become another user takes root; the modes were checked")
        assert refused(path, NOBODY) == "EACCES"
        # Each of the two alone keeps others out: first the socket's mode, with the way to it open, then the folder's.
        opened = [part for part in path.parents if not part.stat().st_mode & 0o001]
        before = {part: stat.S_IMODE(part.stat().st_mode) for part in opened}
        try:
            for part in opened:
                part.chmod(before[part] | 0o001)
            assert refused(path, NOBODY) == "EACCES"
            path.chmod(0o666)
            assert refused(path, NOBODY) == "connected"  # so it was the mode that kept it out
            path.parent.chmod(0o700)
            assert refused(path, NOBODY) == "EACCES"
        finally:
            for part in opened:
                part.chmod(before[part])


@needs_java
def test_jvm_a_clean_server_stays(java_classes: Path, tmp_path: Path) -> None:
    with java_server(java_classes, tmp_path) as (reader, port):
        clean = clean_rates(reader, cycle_of(port, "/clean"), JVM_NOISE, CLEAN, late_step=True)
        assert all(abs(rate) <= CLEAN for rate in clean.values()), clean


@needs_node
def test_a_node_reports_the_largest_size_of_its_heap(tmp_path: Path) -> None:
    """A young generation of 16 MiB at most, three times, comes on top of the old one."""
    folder = tmp_path / "agents"
    env = node.prepare_env({**os.environ, "NODE_OPTIONS": "--max-old-space-size=80"}, folder)
    with server(["node", str(NODE)], tmp_path, env) as (child, _):
        first = NodeCounters(folder, child.pid).probe()
    assert isinstance(first, Counters)
    assert 80 << 20 <= first.limits["V8 heap_size_limit"] <= 128 << 20


FILLING = """
let kept = []
const server = require('http').createServer((request, response) => {
  if (request.url === '/fill') for (let n = 0; n < 2100000; n++) kept.push({ n })
  if (request.url === '/free') kept = []
  response.end('done')
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
"""


@needs_node
def test_a_node_counts_its_objects_again_once_its_heap_has_been_released(tmp_path: Path) -> None:
    """Two million objects are too many to count. They were not counted after their release either, so that a healthy
    service which keeps timers until its next tick was never seen to release its objects."""
    script = tmp_path / "filling.js"
    script.write_text(FILLING)
    env = node.prepare_env(os.environ, tmp_path / "agents")
    with server(["node", str(script)], tmp_path, env) as (child, port):
        reader = NodeCounters(tmp_path / "agents", child.pid)
        assert isinstance(reader.probe(), Counters)
        before = reader.read()[OBJECTS]

        def ask(path: str) -> None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
                assert answer.read() == b"done"

        ask("/fill")
        reader.read()
        assert OBJECTS not in reader.read(), "they are too many"
        ask("/free")
        wait_for(lambda: OBJECTS in reader.read(), "the objects to be counted again")
        assert reader.read()[OBJECTS] < before + 5_000


@needs_java
def test_a_jvm_reports_the_largest_size_of_its_heap(java_classes: Path, tmp_path: Path) -> None:
    with server(["java", "-Xmx96m", "-cp", str(java_classes), "SseServer"], tmp_path) as (child, _):
        first = JvmCounters(child.pid).probe()
    assert isinstance(first, Counters)
    assert first.limits == {"JVM MaxHeapSize": 96 << 20}


@needs_java
def test_a_jvm_that_listens_is_asked_without_another_jvm(java_classes: Path, tmp_path: Path) -> None:
    """A jcmd starts a JVM: three of them for each reading took longer than the loads of a run on a busy machine."""
    with java_server(java_classes, tmp_path) as (reader, _):
        without_jcmd = JvmCounters(reader.pid, jcmd=str(tmp_path / "missing"))
        assert without_jcmd.read()[OBJECTS] > 1000


@needs_java
def test_a_jvm_that_refuses_a_command_or_does_not_answer_is_reported(
    java_classes: Path, tmp_path: Path
) -> None:
    with java_server(java_classes, tmp_path) as (reader, _):
        with pytest.raises(ProbeError, match=r"No.such_command: .*Unknown diagnostic command"):
            jvm_socket.ask(reader.pid, "No.such_command", timeout=DEADLINE, limit=1000)
        os.kill(reader.pid, signal.SIGSTOP)
        try:
            wait_until_stopped(reader.pid)
            with pytest.raises(ProbeError, match=r"no answer in 0.2 s; is the JVM at a safepoint"):
                jvm_socket.ask(reader.pid, "VM.version", timeout=0.2, limit=1000)
        finally:
            os.kill(reader.pid, signal.SIGCONT)


def wait_until_stopped(pid: int) -> None:
    """SIGSTOP stops the threads of a process one after the other."""
    deadline = time.monotonic() + DEADLINE
    while not all(
        "\nState:\tT" in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_java
def test_jvm_a_leaked_object_is_counted_and_its_class_is_first(java_classes: Path, tmp_path: Path) -> None:
    with java_server(java_classes, tmp_path) as (reader, port):
        leaky = rates(reader, cycle_of(port, "/object", OBJECT_CONNECTIONS), JVM_NOISE)
        assert leaky[OBJECTS] == pytest.approx(1.0, rel=SHARE)
        found = reader.attribute(cycle_of(port, "/object"))
        assert found.growths[0].site == "SseServer$Kept", found.lines()
        assert found.growths[0].per_connection == pytest.approx(1.0, rel=SHARE)


@needs_java
@pytest.mark.soak
def test_jvm_a_leaked_thread_is_found_at_the_line_where_it_waits(java_classes: Path, tmp_path: Path) -> None:
    with java_server(java_classes, tmp_path) as (reader, port):
        before = reader.read()[THREADS]
        found = reader.attribute(cycle_of(port, "/thread", 50))
        planted = line_of(JAVA, "// planted thread")
        assert f"SseServer.java:{planted}" in found.growths[0].site, found.lines()
        assert (found.growths[0].kind, found.growths[0].per_connection) == ("thread", 1.0)
        assert reader.read()[THREADS] - before == 100


class Pages(BaseHTTPRequestHandler):
    """Short pprof pages: net/http gives a body below 2 KiB a length, a longer one comes in chunks."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        heap = b"heap profile: 0: 0 [0: 0] @ heap/1048576\n# HeapAlloc = 4096\n# HeapObjects = 7\n"
        body = heap if "heap" in self.path else b"goroutine profile: total 3\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_go_short_pages_are_read_one_after_the_other_over_one_connection() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        try:
            found = GoCounters(os.getpid(), f"http://127.0.0.1:{pages.server_port}").read()
        finally:
            pages.shutdown()
    assert (found[OBJECTS], found[HEAP_BYTES], found[GOROUTINES]) == (7.0, 4096.0, 3.0)


def test_a_service_without_pprof_pages_reports_it() -> None:
    found = GoCounters(os.getpid(), "http://127.0.0.1:9").probe()
    assert isinstance(found, Unavailable)
    assert "expected the pprof pages" in found.reason
    with pytest.raises(ProbeError, match="not an address of pprof pages"):
        GoCounters(1, "ftp://somewhere")


def test_a_process_that_is_no_jvm_reports_it() -> None:
    found = JvmCounters(os.getpid()).probe()
    assert isinstance(found, Unavailable)
    assert "no JVM in its tree" in found.reason
