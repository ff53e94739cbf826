"""The ``guard`` fixture: runs one guard at a time on the machine, and shows its evidence with the failure."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from harness.config import budget_for, from_arguments
from harness.core.after_verdict import attempt
from harness.core.budget import Budget, merge_budgets
from harness.core.errors import WORST_EXIT_FIRST, ConfigError, HarnessError, StoreError
from harness.core.quote import terminal
from harness.core.redact import Redactor
from harness.core.texts import mapped
from harness.core.verdict import Outcome, Verdict
from harness.experiment.guard import Guarded, guard_once, setup_for
from harness.experiment.history import history_place, record_run
from harness.experiment.options import GuardRequest, request_of, with_options
from harness.experiment.redaction import redactor
from harness.http.endpoint import written_target
from harness.plugin.arguments import addresses, check_budget, check_names, command_arguments, convert
from harness.report.fact_lines import MAX_FACT
from harness.report.facts import facts_of
from harness.store.run_dir import safe_name
from harness.target.ready import check_url
from harness.target.spawn import fill_port

SECTION = "harness guard"  # of the report of a test: the evidence
VERDICT_FIELDS = tuple(one.name for one in fields(Verdict))


@dataclass(frozen=True, slots=True, repr=False)
class Explained(Verdict):
    """A verdict whose explanation is what the terminal shows. text: its lines."""

    text: tuple[str, ...] = ()

    def explain(self) -> str:
        """The headline and its facts."""
        return "\n".join(self.text)


class BudgetExceeded(AssertionError):
    """A guard under ``@pytest.mark.budget`` did not end bounded. verdict: the whole judgement."""

    def __init__(self, text: str, verdict: Verdict) -> None:
        super().__init__(text)
        self.verdict = verdict


class Guard:
    """The value of the ``guard`` fixture: call it with a service to get a verdict.

    note is called with (outcome, report, evidence) after each run.
    """

    def __init__(
        self,
        *,
        name: str,
        where: str,
        root: Path,
        out: Path | None = None,
        budget_file: Path | None = None,
        repeat: int = 1,
        marker: Mapping[str, Any] | None = None,
        note: Callable[[str, Path, str], None] = lambda *_: None,
    ) -> None:
        self._name, self._where, self._root = name, where, root
        self._out, self._budget_file, self._repeat = out, budget_file, repeat
        self._marker = marker
        self._note = note
        self._runs = 0

    def __call__(
        self,
        *,
        url: str | Sequence[str],
        command: Sequence[str | os.PathLike[str]] | None = None,
        pid: int | None = None,
        budget: Budget | Mapping[str, Any] | None = None,
        profile: str | None = None,
        **more: Any,
    ) -> Verdict:
        """Load a service in cycles, judge whether it leaks, and stop it.

        url: where its streams are, ``{port}`` is replaced; several of one host are opened in turn. command:
        starts it, ``{port}`` is replaced. pid: a service that runs already. budget: allowed growth, such as
        ``{"fds": "0/connection"}``; overrides the budget file and the marker. profile: ``[profile.NAME]``
        of the file. more: other options of ``harness guard`` (docs/pytest.md); times may be texts
        (``max_time="30s"``), and so may ``sensitivity`` (``"1/1000"``).

        Returns the verdict; under ``@pytest.mark.budget`` raises BudgetExceeded unless it is bounded. Raises
        ConfigError for invalid arguments, HarnessError when the harness itself fails.
        """
        __tracebackhide__ = True
        try:
            request = self._request(
                url=url, command=command, pid=pid, budget=budget, profile=profile, more=more
            )
            done = [self._once(request) for _ in range(self._repeat)]
        except HarnessError as error:
            known = _secrets_of(url=url, command=command, more=more)
            error.args = (terminal(known.text(str(error)), MAX_FACT),)
            raise error.with_traceback(None)  # show only the line of the test  # noqa: B904
        worst = min(done, key=lambda one: WORST_EXIT_FIRST.index(one.verdict.exit_code))
        # pytest prints what `explain` returns, so texts of the service must be escaped for the terminal.
        verdict = Explained(
            **{name: getattr(worst.verdict, name) for name in VERDICT_FIELDS}, text=self._explained(worst)
        )
        verdict = mapped(verdict, lambda text: terminal(text, MAX_FACT))
        if self._marker is not None and verdict.outcome is not Outcome.BOUNDED:
            raise BudgetExceeded(verdict.explain(), verdict)
        return verdict

    def _explained(self, done: Guarded) -> tuple[str, ...]:
        """The lines that ``harness guard`` shows on a terminal."""
        lines = facts_of(done.trial, report=str(done.report), root=str(self._root)).lines()
        return tuple(done.run.redact.text(line) for line in lines)

    def _request(
        self,
        *,
        budget: Budget | Mapping[str, Any] | None,
        profile: str | None,
        more: Mapping[str, Any],
        **given: Any,
    ) -> GuardRequest:
        """The request of a call. given: url, command and pid as the call has them. Raises ConfigError."""
        check_names(more)
        check_budget(budget)
        urls = addresses(given["url"])
        given |= {
            "url": urls,
            "command": command_arguments(given["command"]),
            "pid": convert("pid", given["pid"]),
        }
        # Of budgets the nearer one overrides: that of the call, of the marker, of the file.
        marker = dict(self._marker or {})
        profile = profile or marker.pop("profile", None)
        own, notes = budget_for(
            self._budget_file, endpoints=[_path(url) for url in urls], profile=profile, start=self._root
        )
        if marker:
            own = merge_budgets(own, from_arguments(marker, f"{self._where}: @pytest.mark.budget"))
        if budget is not None:
            over = (
                budget
                if isinstance(budget, Budget)
                else from_arguments(budget, f"{self._where}: guard(budget=…)")
            )
            own = merge_budgets(own, over)
        values = {name: convert(name, value) for name, value in more.items()}
        return request_of(**given, budget=own, budget_notes=notes, profile=profile, **values)

    def _once(self, request: GuardRequest) -> Guarded:
        self._runs += 1
        name = self._name if self._runs == 1 else f"{self._name}-{self._runs}"
        if request.output.out is None and self._out is not None:
            request = with_options(request, out=self._out / safe_name(name))
        # An invalid option is reported before the guards of other tests are waited for.
        setup_for(request)
        with one_guard_at_a_time():
            done = guard_once(request, command=f"pytest {self._where}")
        failures = done.run.failures
        attempt("the history", lambda: _recorded(done), failures.append)
        evidence = attempt("the evidence", lambda: self._explained(done), failures.append)
        lines = (*(evidence or done.verdict.explain().splitlines()), *failures)
        text = "\n".join(terminal(done.run.redact.text(one), MAX_FACT) for one in lines)
        self._note(done.verdict.outcome.value, done.report, text)
        return done


def _recorded(done: Guarded) -> None:
    """Record the run where the environment names a history. A test suite does not create a database by default."""
    place = history_place(None)
    if place.explicit:
        record_run(done.run.record, done.run.directory.path, place)


def _secrets_of(*, url: object, command: object, more: Mapping[str, Any]) -> Redactor:
    """The secrets among the arguments of a call, of any type, because an error may quote any of them."""
    headers, body = more.get("headers"), more.get("body")
    return redactor(
        urls=[one for one in ([url] if isinstance(url, str) else _list(url)) if isinstance(one, str)],
        command=[str(word) for word in _list(command)],
        headers={str(name): str(value) for name, value in headers.items()}
        if isinstance(headers, Mapping)
        else {},
        body=body if isinstance(body, bytes) else str(body).encode() if isinstance(body, str) else None,
        secrets=[one for one in _list(more.get("secrets")) if isinstance(one, str)],
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _path(url: str) -> str:
    filled = fill_port(url, 1)
    check_url(filled)
    return written_target(filled)


@contextmanager
def one_guard_at_a_time() -> Iterator[None]:
    """One guard at a time of this user on this machine: two at once would disturb each other's measurements. The lock
    is flock(2), which the kernel releases when the process exits. Raises StoreError."""
    path = Path(tempfile.gettempdir()) / f"harness-guard-{os.getuid()}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(
            f"guards run one at a time, and their lock {path} cannot be used: {error.strerror}; remove it, or set "
            "TMPDIR to another folder"
        ) from None
    try:
        owner = os.fstat(descriptor).st_uid
        if owner != os.getuid():  # another user could hold the lock for ever
            raise StoreError(
                f"guards run one at a time, and their lock {path} cannot be used: it belongs to user {owner}; "
                "remove it, or set TMPDIR to another folder"
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def guard_for(request: pytest.FixtureRequest) -> Guard:
    """The guard of one test, with its options and markers."""
    node, config = request.node, request.config
    out, budget = config.getoption("--harness-out"), config.getoption("--harness-budget")
    marker = node.get_closest_marker("budget")
    try:
        granted = _arguments(marker) if marker else None
    except ConfigError as error:
        raise pytest.fail.Exception(f"{node.nodeid}: {error}", pytrace=False) from None

    def note(outcome: str, report: Path, evidence: str) -> None:
        node.user_properties.append(("harness-report", f"{outcome} {report}"))
        node.add_report_section("call", SECTION, evidence)

    return Guard(
        name=node.nodeid,
        where=node.nodeid,
        root=config.rootpath,
        out=Path(out).absolute() if out else None,
        budget_file=Path(budget) if budget else None,
        repeat=config.getoption("--harness-repeat"),
        marker=granted,
        note=note,
    )


def _arguments(marker: pytest.Mark) -> dict[str, Any]:
    """The marker's arguments: one mapping for names with a slash, and keywords."""
    found: dict[str, Any] = {}
    for table in marker.args:
        if not isinstance(table, Mapping):
            raise ConfigError(f"@pytest.mark.budget({table!r}): expected fds='0/connection' or a mapping")
        found.update(table)
    found.update(marker.kwargs)
    return found
