"""Stack frames of every runtime, and which of them are the service's own code.

The other frames belong to the standard library of a language, an installed package or a framework. They are the same in
every service, so they do not help the reader to find the leak.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Frame = tuple[str, int, str]  # file, line (0: unknown), function ("" when not known)

# CPython's standard library, installed packages, the interpreter itself, and the harness's own agent.
PYTHON = re.compile(
    r"/harness/runtime/agent/|(?:^|/)(?:site|dist)-packages/|"
    r"/lib(?:64)?/python\d[\d.]*t?/|^<frozen |^<string>$|^<unknown>$|\.pyx$|"
    r"/(?:pypy|lib)-python/|\.zip/"
)
NODE = re.compile(
    r"^node:|/harness/runtime/agent/|/node_modules/|^$|^\(|^internal/|^evalmachine|^native |^<anonymous>$"
)
# Top-level packages of Go 1.26 (go list std).
GO_STANDARD = frozenset(
    """
    archive bufio builtin bytes cmp compress container context crypto database debug embed encoding
    errors expvar flag fmt go hash html image index internal io iter log maps math mime net os path
    plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time
    unicode unique unsafe vendor weak _cgo
    """.split()  # noqa: SIM905
)
# Frameworks that services on the JVM are built with. A package of the service itself is none of these.
JVM = re.compile(
    r"^(?:java|javax|jdk|sun|com\.sun|jakarta|kotlin|kotlinx|scala|groovy|clojure|io\.netty|io\.vertx|io\.undertow|"
    r"io\.quarkus|io\.micronaut|io\.micrometer|io\.grpc|io\.reactivex|io\.ktor|io\.helidon|io\.javalin|io\.projectreactor|"
    r"reactor|rx|akka|play|org\.apache|org\.springframework|org\.eclipse|org\.jboss|org\.hibernate|org\.slf4j|"
    r"org\.glassfish|org\.zeromq|org\.jetbrains|org\.reactivestreams|org\.xnio|ch\.qos|com\.google|com\.fasterxml|"
    r"com\.zaxxer|com\.mysql|org\.postgresql|com\.mongodb|com\.rabbitmq|redis\.clients|io\.lettuce|okhttp3|okio|"
    r"zmq|spark|ratpack|lombok)\."
)
RUST = re.compile(
    r"^(?:std|core|alloc|tokio|hyper|futures|futures_\w+|mio|axum|actix\w*|tower|zmq|__rust\w*|rust_begin_unwind|"
    r"_start|__libc\w*|main)(?:::|$)|^<(?:std|core|alloc|tokio|hyper)::"
)
RUST_FILE = re.compile(r"^/rustc/|/\.cargo/registry/|/library/(?:std|core|alloc)/")
C = re.compile(
    r"^(?:__?libc\w*|__pthread\w*|pthread_\w+|raise|abort|__GI_\w+|gsignal|_start|clone3?|start_thread|__asan\w*|"
    r"__interceptor\w*|__assert\w*|__stack_chk\w*|__fortify\w*|malloc\w*|_int_\w+|free|munmap_chunk|sysmalloc|"
    r"std::|__cxx\w*|__gnu_cxx|__verbose\w*)"
)
C_FILE = re.compile(
    r"(?:^|/)(?:lib(?:c|m|stdc\+\+|gcc_s|pthread|asan)[.-]|ld-linux)|/sysdeps/|(?:^|\./)(?:nptl|csu)/"
)


def go_package(function: str) -> str:
    """``github.com/acme/orders/hub.(*Hub).Run`` → ``github.com/acme/orders/hub``."""
    # A type argument may contain slashes too.
    folder, slash, last = function.partition("[")[0].rpartition("/")
    return folder + slash + last.partition(".")[0]


def is_go_library(frame: Frame) -> bool:
    """Go's own packages, modules of the cache and vendored ones. The function's package decides: a service may lie
    below ``/go/src`` itself, and a build with ``-trimpath`` leaves no root in the file's name."""
    file, _, function = frame
    if "/pkg/mod/" in file or "/vendor/" in file or "@v" in file or file.startswith("_cgo"):
        return True
    package = go_package(function) if function else ""
    if "/vendor/" in package or package.startswith("vendor/"):
        return True
    top = package.split("/")[0]
    # Another package is the service's own, unless nothing is known of it.
    if top not in GO_STANDARD:
        return not package
    # A module may be called ``log`` or ``index``: only the standard one lies in the folder of its own package.
    return (
        file.rpartition("/")[0].endswith(f"src/{package}")
        or not file.startswith("/")
        or top in ("runtime", "internal")
    )


def is_library(runtime: str, frame: Frame) -> bool:
    """runtime: ``python``, ``node``, ``go``, ``jvm``, ``rust`` or ``c``."""
    file, _, function = frame
    if runtime == "go":
        return is_go_library(frame)
    if runtime == "jvm":
        return bool(JVM.match(function)) or not function
    if runtime == "rust":
        return bool(RUST_FILE.search(file)) or bool(RUST.match(function))
    if runtime == "c":
        return bool(C_FILE.search(file)) or bool(C.match(function))
    return bool((NODE if runtime == "node" else PYTHON).search(file))


def own_first(runtime: str, innermost_first: Sequence[Frame]) -> tuple[Frame, ...]:
    """Frames of the service before frames of libraries, each innermost first."""
    own = [frame for frame in innermost_first if not is_library(runtime, frame)]
    return (*own, *(frame for frame in innermost_first if is_library(runtime, frame)))


def written(frame: Frame, *, short: bool = False) -> str:
    """``/srv/app.py:12 in serve``; short: the file's last two parts alone."""
    file, line, function = frame
    if short:
        file = "/".join(file.rsplit("/", 2)[-2:])
    place = f"{file}:{line}" if line else file
    if not place:
        return function
    return place + (f" in {function}" if function else "")
