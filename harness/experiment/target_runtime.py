"""Reads the target from inside: the counters of its runtime once it has settled, and the places where it grows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.after_verdict import attempt
from harness.core.errors import Interrupted, OptionError, ProbeError, StoreError
from harness.core.metric import Key
from harness.core.note import Note, NoteKind, of_kind
from harness.core.record import Place, Places
from harness.experiment.cancellable import call_cancellable, call_in_turns
from harness.process.private_folder import PrivateFolder
from harness.process.proc import owner
from harness.runtime.channel import default_directory
from harness.runtime.counters import (
    MIN_PER_CONNECTION,
    Counters,
    Cycle,
    RuntimeReader,
    TimeLeft,
    Unavailable,
    unlimited,
)
from harness.runtime.detect import UNKNOWN, Choice, choose
from harness.runtime.open import open_reader, prepare_env
from harness.runtime.python import PythonCounters

NOWHERE = (
    "nothing that {runtime} itself allocates grew by {least:g} per {per} or more: {native} holds it, or it is too "
    "rare to be distinguished from noise"
)
# What may hold memory or descriptors that the runtime does not allocate itself.
NATIVE = {
    "python": ("Python", "a C extension or a bare descriptor"),
    "node": ("Node", "a buffer that grows, a native addon or a bare descriptor (fs.open)"),
    "go": ("Go", "C code (cgo) or a bare descriptor"),
    "jvm": ("the JVM", "native code (JNI) or a bare descriptor"),
}
CUT_SHORT = Note(NoteKind.PARTIAL, "the search for its place in the source was interrupted")
UNTRACE_TIMEOUT = 1.0  # seconds to stop the tracing in a service that keeps running


@dataclass(frozen=True, slots=True)
class RuntimeSetup:
    """Which runtime is read: one of detect.OVERRIDES. pprof: address of a Go service's pprof pages, when it is
    not the service's own."""

    name: str = "none"
    pprof: str | None = None


class TargetRuntime:
    """Counters of one trial's target. Missing counters are an error only if their runtime was named in the options.

    A busy interpreter may answer late: each reading raises Interrupted once ``interrupted()``.
    """

    def __init__(
        self,
        setup: RuntimeSetup,
        snapshot_folder: Path | None = None,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """snapshot_folder: where the snapshots of an attribution are saved; None: they are not. Raises ConfigError when
        the runtime does not exist."""
        self.setup = setup
        self.interrupted = interrupted
        self.snapshot_folder = snapshot_folder
        self.choice = choose((), setup.name) if setup.name != "auto" else Choice(UNKNOWN, "not detected yet")
        self.reader: RuntimeReader | None = None
        self.limits: Mapping[str, float] = {}  # ceiling name → value, that the runtime itself sets
        self._folder: Path | None = None
        self._private: PrivateFolder | None = None

    def environment(self, command: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
        """The environment for a target that will be started. Raises StoreError when there is no folder for the
        agents' sockets."""
        self.choice = choose(command, self.setup.name)
        if self.choice.runtime == "none":
            return dict(env)
        try:
            # Not the run's folder: the path of a Unix socket has 107 bytes at most (unix(7)).
            self._private = PrivateFolder("runtime")
            self._folder = self._private.path
        except OSError as error:
            raise StoreError(
                f"no folder for runtime counters in {tempfile.gettempdir()}: {error.strerror}; set TMPDIR, or "
                "switch runtime counters off (runtime none)"
            ) from None
        return prepare_env(self.choice, env, self._folder)

    def open(self, pid: int, url: str) -> Note:
        """Detect the runtime of the running target and take a first reading. Returns a note for the record. url: the
        service's.

        Raises ConfigError when the runtime was asked for by name and cannot be read.
        """
        self.choice = choose(pid, self.setup.name)
        if self.choice.runtime == "none":
            return Note(NoteKind.RUNTIME_COUNTERS_OFF, "runtime counters: switched off")
        reader = open_reader(
            self.choice,
            pid,
            directory=self._folder or default_directory(owner(self.choice.pid or pid)),
            url=self.setup.pprof or url,
        )
        first = (
            reader
            if isinstance(reader, Unavailable)
            else call_cancellable(
                self.interrupted, reader.probe, "the first reading of the runtime's counters"
            )
        )
        if isinstance(first, Counters) and not isinstance(reader, Unavailable):
            self.reader, self.limits = reader, first.limits
            more = "".join(f"; {note.text}" for note in first.notes)
            names = ", ".join(map(str, first.levels))
            text = f"runtime counters: {self.choice.runtime} ({self.choice.reason}): {names}{more}"
            return Note(NoteKind.RUNTIME_COUNTERS, text, {"runtime": self.choice.runtime})
        reason = first.reason if isinstance(first, Unavailable) else ""
        if self.setup.name != "auto":
            raise OptionError("runtime", self.setup.name, reason)
        kind = NoteKind.RUNTIME_COUNTERS_MISSING
        if isinstance(first, Unavailable) and first.unknown_runtime:
            kind = NoteKind.RUNTIME_UNKNOWN
        return Note(kind, f"no runtime counters: {reason}", {"reason": reason})

    def read(self) -> tuple[dict[Key, float], tuple[Note, ...]]:
        """The levels, which must be read only once the service has settled, and notes on what they leave out. A
        failed reading is a gap."""
        if self.reader is None:
            return {}, ()
        try:
            found = call_cancellable(
                self.interrupted, self.reader.read, "a reading of the runtime's counters"
            )
            return dict(found.levels), of_kind(found.notes, NoteKind.PARTIAL)
        except Interrupted:
            return {}, ()
        except ProbeError as error:
            return {}, (Note(NoteKind.READING_INCOMPLETE, f"runtime counters: a gap: {error}"),)

    def attribute(
        self, cycle: Cycle, per: str, *, keeps_running: bool = False, time_left: TimeLeft = unlimited
    ) -> Places | None:
        """The places where the target grows over further cycles; None when they cannot be found.

        per: what ``cycle`` counts, such as ``connection``. keeps_running: whether the target keeps running after an
        interruption. time_left: returns the seconds that remain for the search.
        """
        reader = self.reader
        if reader is None:
            return None
        try:
            found = call_in_turns(
                self.interrupted,
                lambda turn: reader.attribute(turn, time_left=time_left),
                cycle,
                "the search for its place",
                # Tracing slows a service down, so one that keeps running gets the time to stop it.
                linger=UNTRACE_TIMEOUT if keeps_running else 0.0,
            )
        except Interrupted:
            return Places(notes=(CUT_SHORT,))
        except ProbeError as error:
            return Places(notes=(Note(NoteKind.SEARCH_LIMIT, f"attribution failed: {error}"),))
        failures: list[str] = []
        attempt("saving the snapshots of its memory", lambda: self._save_snapshots(per), failures.append)
        places = tuple(
            Place(growth.kind, growth.line(per), growth.own, growth.container, growth.per_connection, per)
            for growth in found.growths
        )
        name, native = NATIVE.get(reader.name, ("the runtime", "native code"))
        nowhere = NOWHERE.format(runtime=name, native=native, least=MIN_PER_CONNECTION, per=per)
        notes = (
            *(() if places else (Note(NoteKind.NOTHING_FOUND, nowhere),)),
            *found.notes,
            *(Note(NoteKind.STEP_FAILED, text) for text in failures),
        )
        return Places(places, found.more, notes, bool(of_kind(found.notes, NoteKind.PARTIAL)))

    def _save_snapshots(self, per: str) -> None:
        """Save the snapshots of an attribution, for ``harness memory diff`` and ``show``."""
        reader, folder = self.reader, self.snapshot_folder
        if folder is None or not isinstance(reader, PythonCounters) or not reader.snapshots:
            return
        for name, snapshot in zip(("before", "after"), reader.snapshots, strict=True):
            saved = (
                # The viewer divides by the connections, which would be wrong for growth that follows another driver.
                snapshot if per in ("connection", "answered stream") else replace(snapshot, connections=None)
            )
            saved.save(folder / f"{name}.snapshot")

    def close(self) -> None:
        """Remove the folder of the agents' sockets. Idempotent."""
        if self._private is not None:
            self._private.close()
            self._private = self._folder = None
