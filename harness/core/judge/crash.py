"""The evidence of a crash: exit code, signal, log, position in the load, and growth before the crash."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from harness.core.judge.moments import moments
from harness.core.judge.signature import advice, find, meaning
from harness.core.record import Trial
from harness.core.trace import fold
from harness.core.units import counted
from harness.core.verdict import Crash

NOISE = ("memory", "mappings", "idle-cpu")  # always vary a little, and no service crashes because of that


def crash_of(trial: Trial) -> Crash | None:
    """The evidence of a crash; None when the service kept running. An exit with code 0 under load is a crash too,
    because nothing asked the service to exit."""
    if not trial.exit:
        return None
    code = trial.exit.returncode
    found = find(trial.exit.log_tail)
    return Crash(
        returncode=code,
        signal=signal_name(code),
        signature=found.signature.name if found else None,
        line=found.line if found else None,
        at_seconds=round(trial.exit.at, 2),
        at_connection=trial.exit.connections,
        grown=grown(trial),
        during=trial.exit.during,
        trace=trial.exit.trace or crash_trace(code, trial.exit.log_tail),
    )


def crash_trace(code: int | None, log: Sequence[str]) -> tuple[str, ...]:
    """The reduced stack trace of the crash. Without a signature of the signal in the log there is none: tracebacks in
    the log then belong to exceptions that were handled."""
    return fold(log) if signal_name(code) is None or find(log) else ()


KILLED = (
    "SIGKILL without a message in its log usually comes from the kernel's out-of-memory killer: "
    "check dmesg, and compare "
    "its memory with the limit of its control group"
)


# Python prints nothing by itself when one of these signals ends it.
FATAL = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
FAULTHANDLER = "set PYTHONFAULTHANDLER=1 and run again: Python then logs the line at which each thread was"


def next_step(crash: Crash, runtime: str = "") -> str:
    """The next step: by the signature, else by the signal. runtime: of the service."""
    if found := advice(crash.signature):
        return found
    if crash.signal == "SIGKILL":
        return KILLED
    if crash.signal in FATAL and runtime == "python":
        return FAULTHANDLER
    if crash.returncode == 0:
        return "find what made it exit by itself with code 0: it must serve until it is stopped"
    return "read the end of its log; run again under a debugger with the same load"


def signal_name(code: int | None) -> str | None:
    """``SIGABRT`` for −6, as subprocess gives it, and for 134, as a shell does; None for any other code."""
    if code is None:
        return None
    number = -code if code < 0 else code - 128 if 128 < code < 128 + 65 else 0
    if number <= 0:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}" if code < 0 else None


def grown(trial: Trial) -> dict[str, float]:
    """Growth of every count from the first level to the last one before the crash, greatest first."""
    levels = [moment.levels for moment in moments(trial)]
    if len(levels) < 2:
        return {}
    first, last = levels[0], levels[-1]
    growth = {
        str(key): level - first.get(key, 0.0)
        for key, level in last.items()
        if key.metric not in NOISE and level > first.get(key, 0.0)
    }
    return dict(sorted(growth.items(), key=lambda item: (-item[1], item[0])))


def sentence(crash: Crash) -> str:
    """One clause for people."""
    code = "exit code unknown" if crash.returncode is None else f"exit code {crash.returncode}"
    text = (
        f"crashed under load ({crash.signal or code}) after {crash.at_seconds:.1f} s "
        f"and {counted(crash.at_connection, 'connection')}"
    )
    if crash.during:
        text += f", in {crash.during}"
    if crash.signature:
        text += f"; its log says that {meaning(crash.signature)} ({crash.signature})"
    if own := next((frame for frame in crash.trace if not frame.startswith("goroutine ")), ""):
        text += f"; at {own}"
    if crash.grown:
        most = ", ".join(f"{name} +{by:g}" for name, by in list(crash.grown.items())[:4])
        text += f"; growth before the crash: {most}"
    return text
