"""Crash signatures: what the end of a log says about the cause of a crash."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """A pattern, its name, its meaning in one clause, and the next step for the person who has to fix it.

    cause: pattern of the line that names the cause, where another one has the signature; the last such line is quoted.
    """

    name: str
    pattern: str  # compiled when a log is read: most services leave nothing to match
    meaning: str
    advice: str
    cause: str = ""


MAX_LINE = 2000  # characters of a log line that are searched and quoted
# A register as Go and the JVM print it: "rax    0x0", "RAX=0x0000000000000008, RBX=0x…", "rflags 0x10216".
REGISTER = re.compile(
    r"^(?:r(?:[abcd]x|[ds]i|[bs]p|ip|flags|\d+)|[cdefgs]s|x\d+|lr|pc|sp|fault|trap)\s+0x[0-9a-f]+$|"
    r"^\s*(?:R[A-Z0-9]{1,2}|RIP|EFLAGS|CSGSFS|ERR|TRAPNO|CR2)\s*=\s*0x[0-9a-fA-F]"
)
# What faulthandler had written of a line when another writer of standard error cut it short: it writes in pieces.
CUT_SHORT = re.compile(
    r'\s*(?:File "[^"]{0,500}"?(?:, line \d{0,9})?(?: in \S{0,200})?|(?:Current t|T)hread 0x[0-9a-f]{1,16}[^:]{0,60}:?)'
)
DESCRIPTORS = "close what the code opens for each stream: raising the limit only delays this exit"
MEMORY = "find what the memory holds with the growth below: raising the limit only delays this exit"
OWNED = "give each ZeroMQ socket one owner: one thread creates, uses and closes it, and other threads send it messages"
CORRUPTED = (
    "run it with AddressSanitizer or valgrind and the same load: the first invalid access names the cause"
)

# Most specific first: the first row that matches any line decides.
SIGNATURES: tuple[Signature, ...] = (
    Signature(
        "zeromq-assertion",
        r"Assertion failed: .*\((?:.*/)?src/(?:msg|signaler|mailbox|mailbox_safe|socket_base|pipe|ypipe|poller_base|"
        r"epoll|object|own|ctx|session_base|fq|lb|dealer|router|stream_engine\w*|tcp\w*|io_thread|poll|select|reaper)"
        r"\.[ch]pp:\d+\)|^(?:Bad file descriptor|Invalid argument|Socket operation on non-socket|Connection reset by "
        r"peer|Broken pipe|No such file or directory) \((?:.*/)?src/\w+\.[ch]pp:\d+\)",
        "an internal check of libzmq failed: a socket was used from several threads or after it was closed",
        OWNED,
    ),
    Signature(
        "zeromq-epoll-emfile",
        r"Too many open files \(.*src/\w+\.[ch]pp",
        "libzmq had no descriptor left for a context",
        f"share one ZeroMQ context in the process, and {DESCRIPTORS}",
    ),
    Signature(
        "czmq-destroyed-socket",
        r"zsock_destroy_checked.*zsock_is \(self\)",
        "a CZMQ socket was destroyed twice",
        f"destroy a socket in one place only; {OWNED}",
    ),
    Signature(
        "sanitizer",
        r"(?:Address|Thread|Memory|Leak)Sanitizer: ",
        "a sanitizer found an invalid access",
        "fix the access at the first frame; the report also names where the memory was allocated and freed",
    ),
    Signature(
        "go-cgo-sigsegv",
        r"signal arrived during cgo execution",
        "a Go service crashed inside C code",
        "look at the C call of this goroutine, and at every other goroutine inside C: they share what must have one "
        "owner, or use it after it was freed",
    ),
    Signature(
        "go-concurrent-map",
        r"fatal error: concurrent map (?:\w+ and map )?(?:\w+)",
        "goroutines used a map at the same time",
        "guard the map with a sync.Mutex; run the service built with -race under the same load",
    ),
    Signature(
        "go-deadlock",
        r"fatal error: all goroutines are asleep - deadlock!",
        "every goroutine waits for another one",
        "look at the channel or lock in the first frame: its other side has returned",
    ),
    Signature(
        "go-stack-overflow",
        r"fatal error: stack overflow|goroutine stack exceeds \d+-byte limit",
        "a Go function called itself without end",
        "bound the recursion in the first frame",
    ),
    Signature(
        "go-threads",
        r"program exceeds \d+-thread limit|fatal error: thread exhaustion",
        "the Go runtime reached its limit of threads",
        "bound the goroutines that call into C or block in a system call: each holds a thread",
    ),
    Signature(
        "go-out-of-memory",
        r"fatal error: (?:runtime: )?(?:out of memory|cannot allocate memory)|runtime: out of memory: cannot allocate",
        "the Go heap could not grow any more",
        MEMORY,
    ),
    Signature(
        "go-nil-pointer",
        r"panic: runtime error: invalid memory address or nil pointer dereference",
        "a Go service used a nil pointer",
        "check the pointer in the first frame: another goroutine may have closed or replaced it",
    ),
    Signature(
        "go-sigsegv",
        r"fatal error: unexpected signal during runtime execution|\[signal SIG(?:SEGV|BUS)|^SIG(?:SEGV|BUS): ",
        "a Go service crashed with an invalid memory access",
        "look for unsafe pointers and C libraries in the first frames; run the service built with -race",
    ),
    Signature(
        "rust-stack-overflow",
        r"has overflowed its stack",
        "a Rust thread overflowed its stack",
        "bound the recursion; run it under a debugger to see the function that repeats",
    ),
    Signature(
        "rust-memory",
        r"memory allocation of \d+ bytes failed",
        "the allocator had no memory left",
        MEMORY,
    ),
    Signature(
        "emfile",
        r"[Tt]oo many open files\b|EMFILE|\[Errno 24\]|\(os error 24\)",
        "descriptors ran out",
        DESCRIPTORS,
    ),
    Signature(
        "thread-exhaustion",
        r"can't start new thread|pthread_create failed|unable to create native thread|"
        r"failed to spawn thread|runtime: failed to create new OS thread",
        "threads ran out",
        "end the threads that each stream starts, or serve streams from a bounded pool",
    ),
    Signature(
        "java-hs-err",
        r"A fatal error has been detected by the Java Runtime Environment",
        "native code crashed the JVM",
        "look at the problematic frame: a JNI library or sun.misc.Unsafe; hs_err_pid*.log has every thread",
    ),
    Signature(
        "java-native-memory",
        r"There is insufficient memory for the Java Runtime Environment|"
        r"Native memory allocation \(\w+\) failed|os::commit_memory\(.*failed",
        "the JVM got no more memory from the system",
        "compare -Xmx with the memory limit of the service, and count its threads and direct buffers",
    ),
    Signature(
        "java-oom",
        r"java\.lang\.OutOfMemoryError",
        "the JVM ran out of memory",
        f"add -XX:+HeapDumpOnOutOfMemoryError, and {MEMORY}",
    ),
    Signature(
        "node-oom",
        r"JavaScript heap out of memory|Allocation failed - process out of memory",
        "the Node heap ran out of memory",
        f"add --heapsnapshot-near-heap-limit=1, and {MEMORY}",
    ),
    Signature(
        "node-fatal",
        r"^#\s+Fatal (?:JavaScript )?(?:error|invalid|process)|^FATAL ERROR: |^abort: |node::Abort",
        "V8 or a native addon aborted the Node process",
        "look at the JavaScript frame that called into native code; update or isolate the addon",
    ),
    Signature(
        "glibc-heap",
        r"^(?:malloc|free|realloc|munmap_chunk|tcache_thread_shutdown|corrupted|double free|malloc_consolidate|"
        r"sysmalloc|calloc)\b.*(?:corrupt|invalid|double free|bad|overwrit|unaligned|mismatch|assertion)|"
        r"^corrupted (?:size|double)|sysmalloc: Assertion|"
        r"\*\*\* Error in .*: (?:double free|free\(\)|malloc\(\)|corrupted)",
        "glibc found its heap corrupted",
        CORRUPTED,
    ),
    Signature(
        "stack-smashing",
        r"stack smashing detected|buffer overflow detected",
        "a C function wrote past the end of its buffer",
        CORRUPTED,
    ),
    Signature(
        "cpp-terminate",
        r"terminate called (?:after throwing|without an active|recursively)",
        "a C++ exception was not caught",
        "catch the exception where the thread starts; the log names its type",
    ),
    Signature(
        "python-memory",
        r"^(?:\w+\.)*MemoryError\b",
        "Python ran out of memory",
        MEMORY,
    ),
    Signature(
        "python-fatal",
        r"^Fatal Python error: (?!Aborted|Segmentation|Bus error)",
        "the Python interpreter found a fatal error",
        "look at the C extension below the first frame: it broke a rule of the interpreter",
    ),
    Signature(
        "python-abort",
        r"^Fatal Python error: Aborted",
        "the process aborted",
        "look at the C library that the first frame calls: it called abort",
    ),
    Signature(
        "python-sigsegv",
        r"^Fatal Python error: (?:Segmentation fault|Bus error)",
        "the process crashed with an invalid memory access",
        "look at the C extension that the first frame calls, and at objects that several threads share with it",
    ),
    Signature(
        "node-uncaught",
        r"^Node\.js v\d+\.\d+|ERR_UNHANDLED_REJECTION|triggerUncaughtException|Unhandled 'error' event",
        "an exception was not caught, which ends a Node process",
        "handle the error where the stream is written: an 'error' listener, or catch around the await",
        # What was thrown has a line of its own, above its stack: the line with the signature names Node's version.
        r"^(?:Uncaught )?(?:\w+ )?\[?\w*(?:Error|Exception)\b(?: \[\w+\])?: ",
    ),
    Signature(
        "go-panic",
        r"^panic: ",
        "a Go service panicked",
        "fix the panic at the first frame; recover only where a request starts",
    ),
    Signature(
        "rust-panic",
        r"^thread '.*' (?:\(\d+\) )?panicked at ",
        "a Rust thread panicked",
        "fix the panic at the first frame; set RUST_BACKTRACE=1 to see its callers",
    ),
    Signature(
        "c-assertion",
        r"\w: Assertion `.*' failed\.",
        "an assertion of C code failed",
        "read the assertion: it names the file and the condition that does not hold",
    ),
    Signature(
        "kernel-oom-kill",
        r"[Oo]ut of memory: Killed process \d+|oom-kill:constraint|\boom_reaper: reaped process",
        "the kernel killed it because memory ran out",
        "compare its memory with the limit of its control group, and find what grows",
    ),
    Signature(
        "dangling-socket",
        r"dangling '\w+' socket created at|dangling sockets: cannot terminate|Dangling ZeroMQ \w+ socket",
        "ZeroMQ sockets were left open at exit",
        "close each socket in the code path that created it",
    ),
    Signature(
        "context-termination",
        r"Context termination timeout",
        "a ZeroMQ context could not be ended",
        "set LINGER on every socket, and close each one before the context ends",
    ),
    Signature(
        "socket-close",
        r"Socket close failure",
        "a ZeroMQ socket could not be closed",
        OWNED,
    ),
)


@dataclass(frozen=True, slots=True)
class Match:
    """A signature that was found, and the line that contains it."""

    signature: Signature
    line: str


def _matches(signature: Signature, line: str) -> bool:
    """Whether the beginning of a line matches: the patterns take quadratic time on a line without end."""
    return bool(re.search(signature.pattern, line[:MAX_LINE]))


def find(lines: Sequence[str]) -> Match | None:
    """The most specific signature in these lines; None when none is known."""
    for signature in SIGNATURES:
        for line in lines:
            if _matches(signature, line):
                return Match(signature, _whole(signature, _cause(signature, lines, line))[:MAX_LINE])
    return None


def _whole(signature: Signature, line: str) -> str:
    """The line without what another writer had begun on it."""
    found = re.search(signature.pattern, line[:MAX_LINE])
    begun = line[: found.start()] if found else ""
    return line[len(begun) :].strip() if CUT_SHORT.fullmatch(begun) else line.strip()


def _cause(signature: Signature, lines: Sequence[str], line: str) -> str:
    if not signature.cause:
        return line
    return next((each for each in reversed(lines) if re.search(signature.cause, each[:MAX_LINE])), line)


def meaning(name: str) -> str:
    """The meaning of a signature in one clause; or the name itself if it is unknown, such as one in an old record."""
    return next((each.meaning for each in SIGNATURES if each.name == name), name)


def advice(name: str | None) -> str:
    """The next step for a signature; empty for a name that is not known."""
    return next((each.advice for each in SIGNATURES if each.name == name), "")


def excerpt(lines: Sequence[str], last: int) -> tuple[str, ...]:
    """The last lines of a log without a dump of registers, and before them the first line of every signature that
    they do not show: a verbose crash hides the cause behind its consequences."""
    lines = [line for line in lines if not REGISTER.match(line[:MAX_LINE])]
    tail = list(lines[-last:])
    buried = lines[: max(0, len(lines) - last)]
    kept: list[str] = []
    for signature in SIGNATURES:
        if any(_matches(signature, line) for line in tail):
            continue
        kept.extend(itertools.islice((line for line in buried if _matches(signature, line)), 1))
    return (*kept, *tail)
