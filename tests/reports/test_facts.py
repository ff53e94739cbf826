"""What a person reads at the end: figures, cause, place or what would show it, forecast and the one next step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.core.budget import Budget
from harness.core.cycle import Phase
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.core.record import About, ExitInfo, Place, Places, Trial
from harness.core.verdict import Bound, Finding, Outcome, Rate, Verdict, Waiting
from harness.report import facts
from harness.report.bound_facts import bounds_fact
from harness.report.evidence import charts
from harness.report.fact_lines import Fact, Facts
from harness.report.facts import facts_of, headline, idle_growth
from harness.report.nouns import growth, interval
from tests.core.series import FDS, container, observation, trial

LEAKING = trial([310, 610, 910, 1210])
EMFILE = "OSError: [Errno 24] Too many open files"


def read(one: Trial) -> str:
    """All facts as one text, without the breaks of lines."""
    facts = facts_of(replace(one, verdict=judge(one)))
    return "\n".join(
        [f"{facts.word}  {facts.headline}", *(f"{fact.label}: {fact.text}" for fact in facts.facts)]
    )


def missing(reason: str, kind: NoteKind = NoteKind.RUNTIME_COUNTERS_MISSING) -> Note:
    """The note of a trial without runtime counters."""
    return Note(kind, f"no runtime counters: {reason}", {"reason": reason})


def test_a_leak_has_rate_forecast_extent_place_and_a_step() -> None:
    found = Places((Place("descriptor", "app.py:12 in serve: 1.00 descriptors per connection", rate=1.0),))
    text = read(replace(LEAKING, places=found))
    assert text.startswith("LEAKING  1.00 descriptor per connection")
    assert "limit: RLIMIT_NOFILE (1,024) is reached" in text
    assert "evidence: 2,100 answered streams in 7 cycles, 21.0 s" in text
    assert "where: app.py:12  serve" in text
    assert "next: find what each connection opens, and close it" in text
    assert "(95 %: 1.00–1.00)" in text, "an exact rate has its interval too"
    assert "where: " not in read(LEAKING), "no place is made up"


@pytest.mark.parametrize(
    ("notes", "limits", "hint"),
    [
        (
            (missing("mount net/http/pprof in the service, or pass its address with --pprof URL (x)"),),
            None,
            "where: unknown: mount net/http/pprof in the service",
        ),
        (
            (missing("process 7 was started without the agent; start it with --inspect"),),
            None,
            "--inspect",
        ),
        (
            (),
            Places(
                notes=(
                    Note(
                        NoteKind.NOTHING_FOUND,
                        "nothing that Node itself allocates grew by 0.02 per x or more",
                    ),
                    Note(NoteKind.SEARCH_LIMIT, "start with y"),
                )
            ),
            "where: unknown: start with y",
        ),
    ],
)
def test_the_hint_that_would_have_helped_is_in_the_verdict(
    notes: tuple[Note, ...], limits: Places | None, hint: str
) -> None:
    assert hint in read(replace(LEAKING, notes=notes, places=limits))
    suspected = replace(LEAKING, notes=notes, places=limits, observations=LEAKING.observations[:4])
    assert hint in read(suspected) or "suspected: " not in read(suspected)


def test_a_line_of_a_library_reports_that_no_stack_has_one_of_the_service() -> None:
    text = "/usr/lib/python3.11/asyncio/tasks.py:649 in sleep: 1.00 tasks per connection"
    found = read(replace(LEAKING, places=Places((Place("task", text, own=False),))))
    assert "; a library's line: no stack has a frame of the service" in found
    assert "a library's line" not in read(replace(LEAKING, places=Places((Place("task", text),))))


@pytest.mark.parametrize(
    ("waits", "named"),
    [
        ("asyncio/tasks.py:649 in sleep", "asyncio.sleep"),
        ("asyncio/locks.py:213 in wait", "asyncio.locks.wait"),
        ("python3.11/threading.py:331 in wait", "threading.wait"),
        ("aiohttp/client.py:7 in _request", "aiohttp.client._request"),
    ],
)
def test_a_wait_in_a_library_is_named_by_its_function(waits: str, named: str) -> None:
    text = f"app.py:3 in beat (made here, waiting in {waits}): 1.00 tasks per connection"
    found = read(replace(LEAKING, places=Places((Place("task", text),))))
    assert f"where: app.py:3  beat, made here, waiting in {named}" in found


def test_threads_that_wait_at_two_lines_of_a_library_are_one_place() -> None:
    one, other = (
        f"/srv/app.py:11 in report (waiting in python3.11/threading.py:{line} in wait): 0.5 threads per connection"
        for line in (331, 339)
    )
    text = read(
        replace(
            LEAKING, places=Places((Place("descriptor", one, rate=0.5), Place("descriptor", other, rate=0.5)))
        )
    )
    assert "where: /srv/app.py:11  report, waiting in threading.wait\n" in text


def test_a_class_of_the_script_itself_has_its_plain_name() -> None:
    line = Place("line", "/srv/app.py:16: 2.00 blocks, 80 B per connection")
    for name, shown in (
        ("__main__.Journal", "Journal"),
        ("_asyncio.Task", "asyncio.Task"),
        ("app._Sub", "app._Sub"),
    ):
        held = container("_open", "list", name)
        assert f"held by: _open (list of {shown}, +1.00 per connection)" in read(
            replace(LEAKING, places=Places((line, held)))
        )


def test_too_little_known_for_a_finding_names_what_would_show_more() -> None:
    """A heap that grows by 4 kB a stream, read from outside alone, may stay undecided: counters of the runtime would
    decide."""
    note = missing("mount net/http/pprof in the service, or pass its address with --pprof URL (x)")
    few = replace(LEAKING, observations=LEAKING.observations[:2], notes=(note,))
    text = read(few)
    assert text.startswith("INCONCLUSIVE  ")
    assert "inside: not read: mount net/http/pprof in the service" in text
    passed = read(replace(trial([10.0] * 30), notes=(note,)))
    assert passed.startswith("BOUNDED  ")
    assert "inside: not read: mount net/http/pprof" in passed, (
        "goroutines and a slow growth of the heap are not seen"
    )
    outside = missing(
        "process 7 runs x: no known runtime, so it is measured from outside alone", NoteKind.RUNTIME_UNKNOWN
    )
    assert "inside: " not in read(replace(few, notes=(outside,)))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("memory/anonymous", "anonymous memory"),
        ("fds", "descriptors"),
        ("fds/tcp-out:9797", "descriptors (tcp-out :9797)"),
        ("tasks/goroutine", "goroutines"),
        ("fds/deleted-file", "descriptors of deleted files"),
        ("fds/device", "device descriptors"),
        ("fds/close-wait", "sockets in CLOSE_WAIT"),
        ("fds/rowless-socket", "unconnected sockets"),
    ],
)
def test_a_headline_has_words_instead_of_keys(key: str, words: str) -> None:
    verdict = replace(judge(LEAKING), outcome=Outcome.INCONCLUSIVE, explanation=f"{key}: rose in 3 blocks")
    assert headline(replace(LEAKING, verdict=verdict)) == f"{words}: rose in 3 blocks"
    later = replace(
        verdict, explanation=f"the run was interrupted; no growth over 60 connections; {key}: undecided"
    )
    title = headline(replace(LEAKING, verdict=later))
    assert title == f"the run was interrupted; no growth over 60 connections; {words}: undecided"
    if "/" in key:
        inside = replace(verdict, explanation=f"over 8.0 h at most 9 fds and 131 kB of {key} per hour (95 %)")
        title = headline(replace(LEAKING, verdict=inside))
        assert title == f"over 8.0 h at most 9 fds and 131 kB of {words} per hour (95 %)"


def test_growth_that_is_too_young_is_reported_once_with_its_age() -> None:
    """The suspicion of one metric and the growth of another, of which the first finding is the cause."""
    verdict = judge(LEAKING)
    waiting = "retained for 19 s so far; growth that outlives 60 s is a leak"
    title = f"+1.00 x: y; suspected: +3 fds per connection, {waiting}"
    aged = tuple(replace(one, retained_seconds=19.0) for one in verdict.findings)
    undecided = replace(
        verdict,
        outcome=Outcome.INCONCLUSIVE,
        explanation=title,
        findings=aged,
        waiting=Waiting(19.0, 60.0),
    )
    young = replace(LEAKING, verdict=undecided)
    facts = facts_of(young)
    assert facts.headline == (
        "1.00 descriptor per connection, retained for 19 s so far; growth that outlives 60 s is a leak"
    )
    assert "suspected" not in [fact.label for fact in facts.facts]
    assert "retained" not in "".join(fact.text for fact in facts.facts), "the headline has it"
    other = replace(young, verdict=replace(verdict, outcome=Outcome.INCONCLUSIVE, explanation="x"))
    assert "suspected" in [fact.label for fact in facts_of(other).facts]


def test_growth_older_than_the_retention_time_is_not_called_too_young() -> None:
    """It was seen only while clients came: 96 s are more than the 60 s that a leak outlives."""
    verdict = replace(judge(LEAKING), outcome=Outcome.INCONCLUSIVE, waiting=Waiting(96.0, 60.0))
    text = headline(replace(LEAKING, verdict=verdict))
    assert (
        "seen for 96 s so far, but not long enough without clients; growth that outlives 60 s is a leak"
        in text
    )
    assert "retained for" not in text


def test_growth_of_a_load_that_never_settled_is_not_that_of_the_idle_control() -> None:
    """The level after an unsettled load is first read at the end of the idle cycle behind it."""
    zombies = Key("processes", "zombie")

    def grew(settled: bool) -> float | None:
        seen = [
            observation(0, {zombies: 1.0}),
            observation(1, {zombies: 301.0}),
            observation(2, {zombies: 601.0}, settled=settled),
            observation(3, {zombies: 601.0 if settled else 602.0}, phase=Phase.IDLE),
        ]
        return idle_growth(moments(trial([], observations=seen)), zombies)

    assert grew(settled=True) == 0.0
    assert grew(settled=False) is None


def test_a_number_and_its_unit_stay_on_one_line() -> None:
    for length in range(50, 70):
        head = f"{'a' * length} stream (95 %)"
        facts = Facts("LEAKING", head, (Fact("limit", f"{'a' * length} about 2 min 4 s at this pace"),))
        lines = facts.lines()
        assert not any(line.endswith((" 2", " 4", "(95")) for line in lines), lines
        assert "\N{NO-BREAK SPACE}" not in facts.text()


@pytest.mark.parametrize(("share", "confirmed"), [(0.94, False), (0.96, True), (1.04, True), (1.06, False)])
def test_a_place_that_gains_as_much_as_was_found_is_confirmed(share: float, confirmed: bool) -> None:
    """The search for containers of the aiohttp example ran out of time after its line was known."""
    (finding, *_) = judge(LEAKING).findings
    assert finding.rate is not None
    line = Place("line", "/srv/hub.js:16 in Hub.add", rate=share * finding.rate.value, per="connection")
    text = read(replace(LEAKING, places=Places((line,), partial=True)))
    assert ("not confirmed" not in text) is confirmed


def test_a_function_without_a_name_is_shown_as_anonymous() -> None:
    line = Place("line", "/srv/server.js:4 in (anonymous) (lines 4-8): 6.67 samples, 543 B per connection")
    text = read(replace(LEAKING, places=Places((line,))))
    assert "where: /srv/server.js:4  an anonymous function, lines 4-8\n" in text


def test_the_container_is_reported_with_its_items_and_gain_and_is_no_place() -> None:
    held = container("Hub.orders", "array", "Order")
    line = Place("line", "/srv/hub.js:16 in Hub.add (lines 16-19): 1.00 elements per connection")
    text = read(replace(LEAKING, places=Places((line, held), partial=True)))
    assert "held by: Hub.orders (array of Order, +1.00 per connection)" in text
    assert "where: /srv/hub.js:16  Hub.add, lines 16-19; not confirmed: the search was cut short" in text
    nameless = container("", "array", "Function", rate=0.98)
    assert "held by: an array of Function, +0.98 per connection" in read(
        replace(LEAKING, places=Places((line, nameless)))
    )


def test_a_pool_that_gained_less_than_what_stayed_holds_nothing() -> None:
    text = "/srv/app.js:12 in attach (EventListener): 1.00 listeners per connection"
    listener = Place("resource", text, rate=1.0, per="connection")
    pool, entries = (
        container("", "array", "HTTPParser", rate=rate, own=own) for rate, own in ((0.26, False), (1.0, True))
    )
    key = Key("memory", "objects")
    grown = trial([float(35 * 300 * n) for n in range(30)], key=key, places=Places((listener, pool)))
    shown = read(grown)
    assert shown.startswith("LEAKING  ")
    assert "app.js:12  attach, EventListener" in shown
    assert "held by" not in shown
    shown = read(replace(grown, places=Places((listener, pool, entries))))
    assert "held by: an array of HTTPParser, +1.00 per connection" in shown


def test_a_ceiling_is_reported_in_readable_units_with_advice() -> None:
    key = Key("memory", "anonymous")
    over = trial([float(15 << 20)] * 6, key=key, budget=Budget(ceilings={"memory/anonymous": 1 << 20}))
    text = read(over)
    assert "anonymous memory reached 15 MiB while idle, over its ceiling of 1 MiB" in text
    assert "next: the report lists what the idle service still" in text


@pytest.mark.parametrize("ends", ["stalled", "crashed"])
def test_the_advice_for_an_exhausted_service_names_the_resource_alone(ends: str) -> None:
    mute = [
        replace(one, ledger=replace(one.ledger, stalls=one.ledger.opened, events=0))
        for one in trial([10.0] * 4).observations
    ]
    said: dict[str, object] = {
        "stalled": {"observations": tuple(mute), "about": About(last_lines=("x", EMFILE))},
        "crashed": {"exit": ExitInfo(1, 9.0, 300, ("x", EMFILE))},
    }
    changes = said[ends]
    assert isinstance(changes, dict)
    text = read(replace(trial([10.0] * 4), **changes))
    assert text.startswith(ends.upper())
    assert EMFILE in text
    assert "next: find what each connection opens, and close it" in text
    without = read(replace(trial([10.0] * 4), **{**changes, "about": About(), **(
        {"exit": ExitInfo(1, 9.0, 300, ())} if ends == "crashed" else {}
    )}))  # fmt: skip
    assert "what each connection opens" not in without


@pytest.mark.parametrize(
    ("before", "log"),
    [
        (["INFO:  Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)"], None),
        (["Traceback (most recent call last):", "ValueError: no table: users"], "ValueError: no table: users"),
    ],
)  # fmt: skip
def test_the_log_of_an_unready_service_is_quoted_once_and_not_from_its_stop(
    before: list[str], log: str | None
) -> None:
    quoted = '127.0.0.1:57074 - "GET /events HTTP/1.1" 401 Unauthorized'
    reason = f"http://127.0.0.1:8000/events answers 401: it needs a login; its log ends: {quoted}"
    lines = (*before, quoted, "INFO:  Shutting down", "INFO:  Finished server process [9007]")
    unready = trial([], unready=reason, about=About(advice="give --header", last_lines=lines))
    facts = facts_of(replace(unready, verdict=judge(unready))).facts
    assert next((fact.text for fact in facts if fact.label == "log"), None) == log


def test_the_first_warning_is_shown_with_words_for_its_metric() -> None:
    one = replace(LEAKING, verdict=judge(LEAKING))
    assert one.verdict
    texts = (
        "memory/anonymous is undecided: the warm-up is not over",
        "the load generator was the bottleneck",
    )
    shown = facts_of(replace(one, verdict=replace(one.verdict, warnings=texts)))
    assert [fact.text for fact in shown.facts if fact.label == "warning"] == [
        "anonymous memory is undecided: the warm-up is not over (and 1 more warning in the report)"
    ]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.99, 1.01, "(95 %: 0.99–1.01)"),
        (0.998, 1.002, "(95 %: 0.998–1.002)"),
        (0.9999, 1.0001, "(95 %: 0.9999–1.0001)"),
        (1.0, 1.0, "(95 %: 1.00–1.00)"),
        (0.99999, 1.0, "(95 %: 1.00–1.00)"),
        (0.0, 0.0, ""),
        (0.5, float("inf"), ""),
    ],
)
def test_the_ends_of_an_interval_are_distinguished_where_they_differ(
    low: float, high: float, text: str
) -> None:
    assert interval(Rate(1.0, low, high, "tasks/connection"), size=False) == text


def finding(metric: str, kind: str, value: float | None, per: str = "connection") -> Finding:
    rate = None if value is None else Rate(value, value, value, f"{metric}/{per}")
    return Finding(metric, kind, "leaking" if rate else "over-ceiling", "connection", rate, "")


@pytest.mark.parametrize(
    ("rest", "also", "text"),
    [
        ([], (), None), ([], (Outcome.STALLED,), "a stall"),
        ([finding("threads", "", 2.0)], (), "2 threads per connection"),
        (
            [finding("memory", "anonymous", None), finding("threads", "", 2.0), finding("tasks", "", 1.5)], (),
            "anonymous memory over its ceiling, 2 threads, 1.50 tasks per connection",
        ),
        (
            [finding("threads", "", 2.0), finding("tasks", "", 1.5, "event"), finding("fds", "", None)],
            (Outcome.STALLED,),
            "2 threads per connection, 1.50 tasks, descriptor over its ceiling per event; a stall",
        ),
        (
            [finding("threads", "", float(n)) for n in range(2, 8)], (Outcome.STALLED, Outcome.OVER_CEILING),
            "2 threads, 3 threads, 4 threads, 5 threads per connection, and 2 more metrics; "
            "a stall, a level above its ceiling",
        ),
    ],
)  # fmt: skip
def test_the_other_findings_are_reported_with_their_units(
    rest: list[Finding], also: tuple[Outcome, ...], text: str | None
) -> None:
    verdict = Verdict(Outcome.LEAKING, "", findings=(finding("fds", "", 1.0), *rest), also=also)
    found = facts._also(verdict)
    assert (found.text if found else None) == text


def bound(metric: str, kind: str, at_most: float, per: str = "answered-stream", **more: str) -> Bound:
    return Bound(metric, kind, more.pop("status", "bounded"), at_most, f"{metric}/{per}", **more)  # type: ignore[arg-type]


def test_a_pass_tells_how_much_memory_a_connected_stream_may_take() -> None:
    """A history per connection in Rust, 39 MB per connected hour, passed by a bound of 68.5 MB that was not printed."""
    held = [
        Bound("memory", "anonymous", "observed", 68_523_700.0, "B/connected-hour", scope="while-connected"),
        Bound("threads", "", "observed", 85.5, "threads/connected-hour", scope="while-connected"),
    ]
    found = bounds_fact(Verdict(Outcome.BOUNDED, "", bounds=tuple(held)), None)
    assert found is not None
    assert found.text == "per connected hour at most 68.5 MB anonymous memory"


def test_bounds_of_every_metric_are_reported_per_stream_and_per_hour() -> None:
    verdict = Verdict(Outcome.BOUNDED, "", bounds=(
        bound("fds", "", 0.001), bound("mappings", "", 5.0, status="undecided"), bound("threads", "", 0.002),
        bound("threads", "", 7.0, scope="while-connected"), bound("tasks", "goroutine", 3.0, status="observed"),
        bound("fds", "file", 0.003), bound("processes", "", 0.002), bound("processes", "zombie", 0.002),
        bound("memory", "objects", 0.5), bound("fds", "", 2.0, "hour"), bound("memory", "anonymous", 1e6, "hour"),
        bound("memory", "heap-bytes", 1e3, "hour", status="observed"), bound("threads", "", 2.0, "hour"),
        bound("processes", "", 2.0, "hour"), bound("idle-cpu", "", 0.01, "hour"), bound("fds", "file", 2.0, "hour"),
    ))  # fmt: skip
    main = facts._main_bound(verdict)
    assert main is verdict.bounds[0]
    found = bounds_fact(verdict, main)
    assert found is not None
    assert found.text == (
        "per answered stream at most 0.002 threads or processes, 0.50 objects, 5.00 memory mappings; "
        "per hour at most 2.00 descriptors, threads or processes, 1 MB anonymous memory, 0.01 cores of idle CPU"
    )
    assert bounds_fact(Verdict(Outcome.BOUNDED, "", bounds=verdict.bounds[:1]), main) is None


@pytest.mark.parametrize(
    ("warnings", "text"),
    [
        ((), None), (("slow",), "slow"), (("slow", "x", "y"), "slow (and 2 more warnings in the report)"),
    ],
)  # fmt: skip
def test_the_first_warning_is_reported_and_the_others_counted(
    warnings: tuple[str, ...], text: str | None
) -> None:
    found = facts._warnings(Verdict(Outcome.BOUNDED, "", warnings=warnings), "in the report")
    assert (found.text if found else None) == text


def test_the_growth_of_the_idle_control_has_a_unit() -> None:
    memory = Key("memory", "anonymous")
    found = moments(trial([5e6, 6e6], warmup=(1e6, 1e6), idle=(1e6, 1_110_592), key=memory))
    one = trial([5e6, 6e6], warmup=(1e6, 1e6), idle=(1e6, 1_110_592), key=memory)
    fact = facts._evidence(one, Bound("memory", "anonymous", "bounded", 1.0, "B/connection"), found)
    assert fact is not None
    assert fact.text.endswith("idle control: +111 kB")


def test_idle_growth_is_that_of_the_cycles_without_clients() -> None:
    one = trial([10.0, 13.0], warmup=(1, 2), idle=(4, 4.5))
    assert facts.idle_growth(moments(one), FDS) == 2.5
    assert facts.idle_growth(moments(trial([10.0, 13.0])), FDS) is None
    assert facts.idle_growth(moments(one), Key("threads")) is None


@pytest.mark.parametrize(
    ("kind", "limits", "hint"),
    [
        (NoteKind.RUNTIME_UNKNOWN, (), "no reader knows it"),
        (NoteKind.RUNTIME_COUNTERS_MISSING, (), "no reader knows it"),
        (NoteKind.OTHER, (), None),
        (
            NoteKind.OTHER, (Note(NoteKind.NOTHING_FOUND, "nothing"), Note(NoteKind.SEARCH_LIMIT, "start with y")),
            "start with y",
        ),
        (NoteKind.OTHER, (Note(NoteKind.NOTHING_FOUND, "nothing"),), "nothing"),
    ],
)  # fmt: skip
def test_why_no_place_is_named_is_reported(
    kind: NoteKind, limits: tuple[Note, ...], hint: str | None
) -> None:
    note = Note(kind, "runtime counters: none", {"reason": "no reader knows it"})
    text = read(replace(LEAKING, notes=(note,), places=Places(notes=limits)))
    assert (f"where: unknown: {hint}" in text) if hint else ("where: " not in text)


def resets() -> Trial:
    """Two descriptors for each request reset before its answer, and none for other ways to disconnect early."""
    seen, done = [], 0
    for index, (early, midway) in enumerate([(20, 80), (100, 20), (30, 100), (90, 10), (50, 120), (120, 40)]):
        done += early
        ledger = {
            "answered": 500 - early, "aborts": early + midway,
            "by_mode": {"fin": 500 - early - midway, "rst-early": early, "rst": midway},
        }  # fmt: skip
        phase = Phase.LOAD if index else Phase.WARMUP
        seen.append(observation(index, {Key("fds"): 10.0 + 2 * done}, phase=phase, opened=500, ledger=ledger))
    made = trial([], observations=seen)
    return replace(made, verdict=judge(made))


def test_the_headline_has_the_exact_words_of_the_driver() -> None:
    """ "per aborted stream" names those as well that leave nothing behind."""
    shown = resets()
    assert shown.verdict is not None
    (found,) = shown.verdict.findings
    assert (found.driver, found.per) == ("abort", "request reset before its answer")
    assert headline(shown) == "2.00 descriptors per request reset before its answer (95 %: 2.00–2.00)"
    (chart,) = charts(shown, "x")
    assert chart.x_label == "requests reset before their answer so far"
    fitted = next(line for line in chart.lines if line.style == "fit")
    measured = next(line for line in chart.lines if line.style == "levels")
    assert fitted.points[-1] == measured.points[-1], "the line has the slope of what it is drawn against"
    earlier = replace(found, per="")  # of a record without the words
    assert growth(earlier) == "2.00 descriptors per aborted stream"


@pytest.mark.parametrize(
    ("nofile", "limit"),
    [
        (20_000.0, "limit: reached at 1,910 descriptors: then only status 503"),
        (1_915.0, "limit: reached at 1,910 descriptors, RLIMIT_NOFILE (1,915): then only status 503"),
    ],
)
def test_a_leak_into_a_limit_names_what_happened_there(nofile: float, limit: str) -> None:
    stopped = {"statuses": {503: 300}, "answered": 0}
    seen = [
        observation(index, {FDS: level}, ledger={"answered": 300} if index < 4 else stopped)
        for index, level in enumerate([1010.0, 1310.0, 1610.0, 1910.0, 1910.0, 1910.0])
    ]
    one = trial([], observations=seen)
    text = read(replace(one, target=replace(one.target, limits={"RLIMIT_NOFILE": nofile})))
    assert text.startswith("LEAKING  1.00 descriptor per ")
    assert limit in text
    assert "more connections" not in text


def test_the_next_step_is_cut_last() -> None:
    """A leak behind a rate limit ended with "raise the service's limit for …", without the option that helps."""
    step = (
        f"{'close what each stream leaves, ' * 5}or spread the load: --source-addresses 127.0.0.2-127.0.0.200"
    )
    long = "a sentence of many words that needs several lines of the terminal, " * 3
    facts = Facts(
        "LEAKING", "1.00 descriptor", tuple(Fact(name, long) for name in ("where", "evidence", "warning"))
    )
    lines = replace(facts, facts=(*facts.facts, Fact("next", step), Fact("report", "r", whole=True))).lines()
    assert len(lines) == 12
    assert "--source-addresses 127.0.0.2-127.0.0.200" in " ".join(" ".join(lines).split())


def test_a_leak_beside_a_late_release_names_the_release() -> None:
    late = "the rest was released 21 s after the client disconnected"
    verdict = judge(LEAKING)
    first = replace(verdict.findings[0], released=late)
    found = facts_of(replace(LEAKING, verdict=replace(verdict, findings=(first, *verdict.findings[1:]))))
    assert Fact("released", late) in found.facts
    assert "released" not in {fact.label for fact in facts_of(replace(LEAKING, verdict=verdict)).facts}


@pytest.mark.parametrize(("cut", "kept"), [("warning", "where"), ("where", "evidence"), ("evidence", "next")])
def test_facts_that_name_options_are_cut_after_others(cut: str, kept: str) -> None:
    long = "a sentence of many words that needs five lines of the terminal where it is shown whole, " * 4
    shown = Facts("LEAKING", "1.00 descriptor", (Fact(cut, long), Fact(kept, long))).lines(8)
    assert [line[2:12].strip() for line in shown] == ["AKING  1.0", cut, "", kept, "", "", "", ""]


def test_a_limit_that_is_reached_is_not_a_forecast() -> None:
    """It was "RLIMIT_NOFILE (400) after 0 more connections"."""
    full = replace(LEAKING, target=replace(LEAKING.target, limits={"RLIMIT_NOFILE": 1210.0}))
    assert "limit: RLIMIT_NOFILE (1,210) is reached" in read(full)
    nearly = replace(LEAKING, target=replace(LEAKING.target, limits={"RLIMIT_NOFILE": 1211.0}))
    assert "limit: RLIMIT_NOFILE (1,211) after 1 more connection" in read(nearly)
