"""Reduce the stack trace of a crash to the frames that matter: the service's own first, registers left out.

Formats: Go's runtime (runtime/traceback.go), CPython's tracebacks and faulthandler, V8's stacks, the JVM's exceptions
and ``hs_err`` files, Rust's backtraces, gdb's ``bt``, AddressSanitizer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.core.frames import Frame, is_library, own_first, written

MAX_FRAMES = 12  # frames that are kept
MAX_OTHERS = 4  # other goroutines that were inside C
MAX_LINE = 2000  # characters of a line that are read
MAX_GOROUTINES = 10_000  # goroutines that are looked at; a service that leaks them has millions

GOROUTINE = re.compile(r"^goroutine (\d+)(?: gp=\S+ m=\S+(?: mp=\S+)?)? \[([^\]]*)\]:")
GO_CALL = re.compile(r"^(?:created by )?([^\s(][^\s]*?)(?:\(.*\)|\(\.\.\.\))?(?: in goroutine \d+)?$")
GO_PLACE = re.compile(r"^\t(.+):(\d+)(?: \+0x[0-9a-f]+)?(?: .*)?$")
# The first line of what the runtime prints when it dies; a dump on request begins with a goroutine as well.
GO_DEAD = re.compile(
    r"^(?:fatal error: |panic: |SIG[A-Z]+: |signal arrived during cgo|runtime: |\[signal |PC=|goroutine \d)"
)
PYTHON_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+),? in (.+)$')
PYTHON_CURRENT = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):$")
PYTHON_TRACEBACK = re.compile(r"^\s*Traceback \(most recent call last\):$")
NODE_FRAME = re.compile(r"^\s+at (?:async )?(?:(.*?) \()?(?:file://)?([^()\s]+):(\d+):\d+\)?$")
V8_FRAME = re.compile(
    r"^\s*\d+: (\S.*?) [\[(](?:0x[0-9a-f]+\] \[)?(?:file://)?([^\s\])]+):(\d+)(?::\d+)?[\])]"
)
JVM_FRAME = re.compile(r"^\s+at (?:[a-z][\w.]*(?:@[\w.]*)?/{1,2})*([\w.$<>/]+)\(([^:)]+)(?::(\d+))?\)$")
# Above the frames of what ends a service, or a thread of it.
JVM_FATAL = re.compile(r"\bjava\.lang\.\w*Error\b|^Exception in thread ")
# Java frames of an hs_err file: j is interpreted, J is compiled; the others are native.
HS_ERR = re.compile(r"^[jJ]\s+(?:\d+%?\s+(?:c[12]\s+)?)?([\w.$/<>]+)\(.*?\)\S*")
RUST_FRAME = re.compile(r"^\s+\d+: (?:0x[0-9a-f]+ - )?(\S.*)$")
RUST_PLACE = re.compile(r"^\s+at (.+?):(\d+)(?::\d+)?$")
RUST_PANIC = re.compile(r"^thread '.*?'(?: \(\d+\))? panicked at (.+?):(\d+):\d+:$")
C_FRAME = re.compile(
    r"^\s*#\d+\s+(?:0x[0-9a-f]+ in )?([\w:~<>*, ]+?)\s*(?:\(.*?\))?(?: (?:at|from) | )(\S+?)"
    r"(?::(\d+))?(?::\d+)?(?:\s.*)?$"
)


def fold(lines: Sequence[str]) -> tuple[str, ...]:
    """The frames that matter, innermost first and those of the service before all others. Empty without a trace."""
    cut = [line[:MAX_LINE].rstrip() for line in lines]
    for read in (_go, _python, _jvm, _rust, _c, _node):
        folded = read(cut)
        if folded:
            return folded
    return ()


def _kept(runtime: str, frames: Sequence[Frame]) -> tuple[str, ...]:
    """The frames as lines. Frames of libraries are kept only if none is the service's own."""
    ordered = own_first(runtime, list(dict.fromkeys(frames)))  # a recursion is one frame
    own = [frame for frame in ordered if not is_library(runtime, frame)]
    return tuple(written(frame) for frame in (own or ordered)[:MAX_FRAMES])


def _go(lines: Sequence[str]) -> tuple[str, ...]:
    """The goroutine that crashed, then every other one that was inside C."""
    start = next((i for i, line in enumerate(lines) if GO_DEAD.match(line)), None)
    if start is None:
        return ()
    blocks = [block for block in goroutines(lines[start:]) if block.whole]
    if not blocks:
        return ()
    # The runtime prints the goroutine that crashed first; without a number it was on the scheduler's stack.
    first = blocks[0]
    folded = [f"goroutine {first.number} [{first.state}]", *_kept("go", first.whole)]
    for one in blocks[1 : 1 + MAX_GOROUTINES]:
        if (
            any("._Cfunc_" in function for _, _, function in one.whole)
            and len(folded) < MAX_FRAMES + MAX_OTHERS + 1
        ):
            own = own_first("go", one.whole)[0]
            folded.append(f"goroutine {one.number} [{one.state}] is inside C as well: {written(own)}")
    return tuple(folded)


@dataclass(frozen=True, slots=True)
class Goroutine:
    """One goroutine of a dump. state: such as ``chan receive, 2 minutes``. frames: innermost first. made: the line that
    started it; empty for the main one."""

    number: str
    state: str
    frames: list[Frame] = field(default_factory=list)
    made: list[Frame] = field(default_factory=list)

    @property
    def whole(self) -> list[Frame]:
        """The frames and the line that started the goroutine: that line is in no frame, but it is often the only one of
        the service."""
        return [*self.frames, *self.made]


def goroutines(lines: Sequence[str]) -> Iterator[Goroutine]:
    """Every goroutine of a dump as Go's runtime prints it (runtime.Stack, a crash, pprof's goroutine?debug=2)."""
    one: Goroutine | None = None
    function, starter = "", False
    # An empty line ends a goroutine, so one is added after the last. A frame has two lines: the call, then its place.
    for line in (*lines, ""):
        if start := GOROUTINE.match(line):
            one, function = Goroutine(start[1], start[2]), ""
        elif not line:
            if one:
                yield one
            one = None
        elif one and (place := GO_PLACE.match(line)):
            if function:
                (one.made if starter else one.frames).append((place[1], int(place[2]), function))
            function = ""
        elif one:
            starter = line.startswith("created by ")
            function = _go_function(line) if GO_CALL.match(line) else ""


def _go_function(line: str) -> str:
    """``main.(*Client).Recv(0x0?)`` → ``main.(*Client).Recv``."""
    text = line.removeprefix("created by ").partition(" in goroutine")[0]
    if line.startswith("created by ") or not text.endswith(")"):
        return text
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] == ")") - (text[at] == "(")
        if not depth:
            return text[:at]
    return text


def _python(lines: Sequence[str]) -> tuple[str, ...]:
    """The current thread of a fatal error, else the last traceback."""
    frames: list[Frame] = []
    best: list[Frame] = []
    inside, innermost_last, current = False, False, False
    for line in (*lines, ""):
        if PYTHON_CURRENT.match(line) or PYTHON_TRACEBACK.match(line):
            if current:
                break
            inside, frames = True, []
            # A traceback has the innermost frame last, faulthandler has it first.
            innermost_last = bool(PYTHON_TRACEBACK.match(line))
            current = line.startswith("Current thread")
        elif inside and (frame := PYTHON_FRAME.match(line)):
            frames.append((frame[1], int(frame[2]), frame[3]))
            best = frames[::-1] if innermost_last else list(frames)
        elif inside and line and not line.startswith(" "):
            inside = False
    return _kept("python", best)


def _node(lines: Sequence[str]) -> tuple[str, ...]:
    """Frames of the last error's stack, or of V8's own report."""
    stacks: list[list[Frame]] = []
    previous = False
    for line in lines:
        match = NODE_FRAME.match(line)
        if match and not previous:
            stacks.append([])
        previous = bool(match)
        if match:
            stacks[-1].append((match[2], int(match[3]), match[1] or ""))
    # Node prints where the event was emitted after the error itself, often without a frame of the service.
    own = [stack for stack in stacks if any(not is_library("node", frame) for frame in stack)]
    found = (own or stacks or [[]])[-1]
    if not found:
        script = [match for line in lines if (match := V8_FRAME.match(line))]
        found = [(match[2], int(match[3]), match[1]) for match in script]
    return _kept("node", found)


def _jvm(lines: Sequence[str]) -> tuple[str, ...]:
    """An exception's frames, else the Java frames of an ``hs_err`` file.

    Every thread that meets a full heap reports it, threads of libraries often before those of the service: the first
    report with a frame of the service is shown, of errors that end a service before any other.
    """
    stacks: list[tuple[bool, list[Frame]]] = []
    previous = ""
    for line in lines:
        if match := JVM_FRAME.match(line):
            if not JVM_FRAME.match(previous):
                stacks.append((bool(JVM_FATAL.search(previous)), []))
            if "." in match[1]:
                stacks[-1][1].append((match[2], int(match[3] or 0), match[1]))
        previous = line
    fatal = [frames for is_fatal, frames in stacks if is_fatal and frames]
    found = fatal or [frames for _, frames in stacks if frames]
    own = [frames for frames in found if any(not is_library("jvm", frame) for frame in frames)]
    if chosen := own or found:
        return _kept("jvm", chosen[0])
    reported = [match for line in lines if (match := HS_ERR.match(line))]
    return _kept("jvm", [("", 0, match[1].replace("/", ".")) for match in reported])


def _rust(lines: Sequence[str]) -> tuple[str, ...]:
    """The backtrace where there is one, else the place of the panic."""
    found: list[Frame] = []
    function = ""
    panic: Frame | None = None
    for line in lines:
        if match := RUST_PANIC.match(line):
            panic = (match[1], int(match[2]), "")
        elif panic and (match := RUST_FRAME.match(line)):
            function = match[1]
        elif panic and function and (match := RUST_PLACE.match(line)):
            found.append((match[1], int(match[2]), function))
            function = ""
    if panic is None:
        return ()
    own = [frame for frame in found if not is_library("rust", frame)]
    return _kept("rust", own or [panic, *found])


def _c(lines: Sequence[str]) -> tuple[str, ...]:
    """The first stack of gdb or of a sanitizer. gdb prints the innermost frame alone when it opens a core file."""
    stacks: list[list[Frame]] = []
    for line in lines:
        if match := C_FRAME.match(line):
            if line.lstrip().startswith("#0 ") or not stacks:
                stacks.append([])
            stacks[-1].append((match[2], int(match[3] or 0), match[1].strip()))
    whole = next((stack for stack in stacks if len(stack) > 1), None)
    return _kept("c", whole or (stacks[0] if stacks else []))
