"""Charts, numbers in words and growth: pinned at the points where they change."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from harness.core.claims_record import ClaimsRecord
from harness.core.cycle import Observation, Phase, Reading
from harness.core.judge.moments import moments
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import ExitInfo
from harness.core.sample import Sample
from harness.core.verdict import Exhaustion, Finding, Rate
from harness.report import evidence, facts
from harness.report.claims import provenance
from harness.report.memory import boxes, tree
from harness.report.over_time import classes, columns, cycles, load, resources, thin
from harness.report.svg import Chart, Line, Mark, draw, in_sight, short, ticks
from harness.report.trend import rate
from harness.report.words import number, signed, size, span
from tests.core.series import FDS, observation, trial

MIB = 1 << 20
SOCKET = Key("fds", "socket")


def test_the_evidence_of_an_inconclusive_run_is_the_metric_that_made_it_so() -> None:
    """A Go service whose memory was undecided was shown with its descriptors, which were flat."""
    memory = Key("memory", "anonymous")
    levels = [20e6 + 1024.0 * 300 * i for i in range(1, 26)]
    steady = [
        replace(one, levels={FDS: 10.0, memory: level})
        for one, level in zip(trial(levels).observations[3:], levels, strict=True)
    ]
    one = trial([], observations=steady)
    verdict = judge(one)
    assert verdict.explanation.startswith("memory/anonymous: ")
    (chart,) = evidence.charts(replace(one, verdict=verdict), "x")
    assert chart.title == "Anonymous memory after each cycle"
    (chart,) = evidence.charts(
        replace(one, verdict=replace(verdict, explanation="the run was interrupted")), "x"
    )
    assert chart.title == "Descriptors after each cycle"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (999, "999"), (1000, "1,000"), (1234.6, "1,235"), (999.4, "999"), (99.94, "99.9"),
        (0.25, "0.25"), (0.2549, "0.255"), (0.001, "0.001"), (0.00099, "9.9e-4"), (-0.00099, "−9.9e-4"),
        (-1234.6, "−1,235"), (-0.5, "−0.5"), (1e18, "1,000,000,000,000,000,000"), (1.1e18, "∞"), (-1.1e18, "−∞"),
        (10**400, "∞"), (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "unknown"), (1.5, "1.5"), (2.0, "2"),
    ],
)  # fmt: skip
def test_a_number_has_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (lambda: signed(1.02), "+1.02"), (lambda: signed(0), "0"), (lambda: signed(-1.02), "−1.02"),
        (lambda: signed(1234.6, 5), "+1,235"),
        (lambda: size(1023), "1,023 B"), (lambda: size(1024), "1 KiB"), (lambda: size(1 << 20), "1 MiB"),
        (lambda: size(1 << 30), "1 GiB"),
        (lambda: size(-2048), "−2 KiB"), (lambda: span(119.94), "119.9 s"), (lambda: span(120), "2 min"),
        (lambda: span(250.4), "4 min 10 s"),
        (lambda: span(3599), "59 min 59 s"), (lambda: span(3600), "1 h"), (lambda: span(7500), "2 h 5 min"),
        (lambda: span(47.99 * 3600), "47 h 59 min"),
        (lambda: span(48 * 3600), "2.0 days"), (lambda: span(math.inf), "an unknown time"),
        (lambda: span(math.nan), "an unknown time"),
        (lambda: rate(0.0), "0.00"), (lambda: rate(0.005), "0.01"), (lambda: rate(0.0049), "0.0049"),
        (lambda: rate(99.99), "99.99"),
        (lambda: rate(100.0), "100"),
        (lambda: rate(-0.5), "-0.50"),
    ],
)  # fmt: skip
def test_amounts_and_times_are_written_alike(found: Callable[[], str], text: str) -> None:
    assert found() == text


@pytest.mark.parametrize(
    ("low", "high", "most", "found"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]), (0, 11, 5, [0, 5, 10]), (0, 100, 5, [0, 20, 40, 60, 80, 100]),
        (3, 3, 5, [3]), (5, 3, 5, [5]), (0.1, 0.35, 5, [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]),
        (-4, 4, 4, [-4, -2, 0, 2, 4]),
        (0, 60, 5, [0, 20, 40, 60]), (0, 1000, 10, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]),
    ],
)  # fmt: skip
def test_ticks_are_round_numbers(low: float, high: float, most: int, found: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (9999, "9999"), (10_000, "10k"), (12_000, "12k"), (999_000, "999k"), (4.5e6, "4.5M"), (2e9, "2G"),
     (-12_000, "-12k"), (-3e6, "-3M")],
)  # fmt: skip
def test_a_tick_is_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("level", "seen"),
    [(200.0, True), (200.1, False), (0.0, False), (1.0, True), (math.inf, False), (-1.0, False)],
)
def test_a_ceiling_is_drawn_up_to_twice_the_data(level: float, seen: bool) -> None:
    assert in_sight(level, 100.0) is seen


def numbers(text: str, what: str) -> list[tuple[float, ...]]:
    """The coordinates of each element of a class."""
    return [
        tuple(float(one) for one in re.findall(r'(?:x1|y1|x2|y2|x|y|cx|cy|width|height)="(-?[\d.]+)"', found))
        for found in re.findall(rf'<(?:line|rect|circle|text) class="{what}"[^>]*>', text)
    ]


def points(text: str, what: str) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in found.split())]
        for found in re.findall(rf'class="{what}" points="([^"]*)"', text)
    ]


def test_every_part_of_a_chart_is_where_its_values_put_it() -> None:
    """Inside 58 to 706 and 12 to 260; the y axis ends 6 % above the highest value."""
    text = str(
        draw(
            Chart(
                "A <title>", "what & why", "seconds", "units",
                lines=[Line([(0, 0), (10, 100), (15, None), (20, 50)], "series")],
                marks=[Mark(10, 100, "load", "m"), Mark(0, 0, "idle", "i"), Mark(20, 50, "retention", "r")],
                band=[(0, 0, 20), (20, 40, 60)],
                rules=[(150, "near"), (500, "far")],
                shades=[(5, 10, "busy")],
                crashed_at=20,
            )
        )
    )  # fmt: skip
    top = 150 * 1.06

    def y(value: float) -> float:
        return round(12 + (1 - value / top) * 248, 1)

    assert points(text, "series") == [[(58.0, 260.0), (382.0, y(100))], [(706.0, y(50))]]
    assert points(text, "band") == [[(58.0, y(20)), (706.0, y(60)), (706.0, y(40)), (58.0, 260.0)]]
    assert numbers(text, "mark load") == [(382.0, y(100))]
    assert numbers(text, "mark idle") == [(53.0, 255.0, 10.0, 10.0)]
    assert points(text, "mark retention")[0][0] == (706.0, round(y(50) - 7, 1))
    assert numbers(text, "ceiling") == [(58.0, y(150), 706.0, y(150))]
    assert ">near</text>" in text
    assert "far" not in text
    assert numbers(text, "busy") == [(220.0, 12.0, 162.0, 248.0)]
    assert numbers(text, "exited") == [(706.0, 12.0, 706.0, 260.0)]
    assert [line[1] for line in numbers(text, "grid")] == [y(value) for value in (0, 50, 100, 150)]
    assert re.findall(r'class="tick"[^>]*>([^<]*)<', text) == [
        "0",
        "50",
        "100",
        "150",
        *map(str, range(0, 21, 2)),
    ]
    assert '<title id="chart-720-t">A &lt;title&gt;</title>' in text
    assert '<desc id="chart-720-d">what &amp; why</desc>' in text
    assert text.count(">seconds</text>") == text.count(">units</text>") == 1
    assert 'transform="translate(13 136.0) rotate(-90)">units<' in text


def test_a_chart_without_zero_begins_at_its_lowest_value_and_a_flat_one_has_a_height() -> None:
    above = str(draw(Chart("t", "d", "x", "y", lines=[Line([(0, 100), (1, 200)], "s")], zero=False)))
    assert points(above, "s")[0][0] == (58.0, 260.0)
    assert points(above, "s")[0][1] == (706.0, round(12 + (1 - 100 / 106) * 248, 1))
    flat = str(draw(Chart("t", "d", "x", "y", lines=[Line([(3, 5), (3, 5)], "s")], zero=False)))
    assert points(flat, "s") == [[(58.0, 260.0), (58.0, 260.0)]]
    assert str(draw(Chart("t", "d", "x", "y"))) == ""
    ten = Chart("t", "d", "x", "y", lines=[Line([(0, 0), (10, 10)], "s")])
    assert [str(draw(ten, width)).count('class="tick"') for width in (400, 500, 501)] == [9, 9, 14]


def samples(fds: Sequence[int | None], **more: object) -> list[Sample]:
    return [
        Sample(float(n), fds=value, threads=2, rss=3 * MIB, gap=None if value is not None else "gone", **more)  # type: ignore[arg-type]
        for n, value in enumerate(fds)
    ]


def test_thinning_keeps_the_ends_every_peak_and_every_gap() -> None:
    many = samples([1] * 100)
    many[37] = Sample(37.0, fds=50)
    many[61] = Sample(61.0, gap="gone")
    kept = thin(many, 10)
    assert len(kept) <= 10
    assert kept[0] is many[0]
    assert kept[-1] is many[-1]
    assert {37.0, 61.0} <= {one.at for one in kept}
    assert [one.at for one in kept] == sorted({one.at for one in kept})
    assert thin(many, 100) == many
    assert len(thin(many, 99)) == 51


def test_the_columns_of_a_chart_begin_with_the_trial() -> None:
    one = replace(trial([11, 12]), started=2.0, exit=ExitInfo(1, 7.0, 3))
    found = columns(one, samples([1, 2, 3, None, 5]))
    assert found["x"] == [0.0, 1.0, 2.0]
    assert found["fds"] == [3, None, 5]
    assert found["threads"] == [2, 2, 2]
    assert found["memory"] == [3.0, 3.0, 3.0]
    assert found["cycles"][1] == {"from": 1.0, "load": 2.0, "to": 4.0, "phase": "warmup"}
    assert found["crash"] == 7.0
    assert columns(replace(one, exit=None), [])["crash"] is None


def test_resources_name_their_first_highest_and_last_value() -> None:
    one = replace(trial([11]), started=0.0)
    found = {chart.title: chart for chart in resources(one, samples([4, 9, 7]), "id")}
    fds = found["Descriptors over time"]
    assert fds.description.startswith("Descriptors over time over 2 s: first 4, peak 9, last 7") or (
        "over 2 s: first 4, peak 9, last 7" in fds.description
    )
    assert fds.rules == [(1024.0, "RLIMIT_NOFILE 1,024")]
    assert fds.shades[1] == (3.0, 4.0, "busy")
    assert list(resources(one, samples([4]), "id")) == []


def test_the_load_of_each_cycle_is_drawn_and_listed() -> None:
    ledger = {
        "peak": 40,
        "first_event_p50": 0.01,
        "first_event_p95": 0.02,
        "first_event_p99": 0.05,
        "causes": {"reset": 2},
    }
    one = trial([], observations=[observation(n, {FDS: 3.0}, ledger=ledger) for n in range(2)])
    opened, first = load(one, "id")
    assert opened.lines[0].points == [(0.0, 0.0), (0.0, 40.0), (1.0, 40.0), (1.0, 0.0), (3.0, 0.0), (3.0, 40.0),
                                      (4.0, 40.0), (4.0, 0.0)]  # fmt: skip
    assert "2 cycles with clients; 40 at most" in opened.description
    assert "p50 10 to 10 ms; p95 20 to 20 ms; p99 50 to 50 ms" in first.description
    row = cycles(one)[1]
    assert (row.streams, row.peak, row.p50, row.p95, row.p99, row.failures) == (
        "300", "40", "10 ms", "20 ms", "50 ms", "2 reset")  # fmt: skip


def test_classes_are_compared_between_the_first_and_the_last_settled_moment() -> None:
    pipe, file = Key("fds", "pipe"), Key("fds", "file")
    seen = [
        observation(0, {FDS: 5.0, pipe: 2.0, file: 3.0, SOCKET: 4.0}),
        observation(1, {FDS: 1e9, pipe: 1e9}, settled=False),
        observation(2, {FDS: 1005.0, pipe: 1002.0, file: 3.0}),
    ]
    assert classes(trial([], observations=seen)) == [
        ("fds/file", "3", "3", "0"), ("fds/pipe", "2", "1,002", "+1,000"), ("fds/socket", "4", "0", "-4")]  # fmt: skip
    assert classes(trial([], observations=seen[:1])) == []


def test_the_fitted_line_begins_after_the_warm_up_with_the_rate_of_the_verdict() -> None:
    key = Key("fds", "eventfd")
    levels = [100.0, 350.0, 400.0, 700.0, 1000.0]
    seen = [
        observation(n, {FDS: level, key: level}, phase=Phase.WARMUP if n < 2 else Phase.LOAD)
        for n, level in enumerate(levels)
    ]
    finding = Finding("fds", "eventfd", "leaking", "connection", Rate(1.0, 0.9, 1.1, "fds/connection"), "")
    one = trial([], observations=seen)
    chart = evidence._after_disconnect(one, moments(one), finding, "id")
    assert chart is not None
    levels_line, fit = chart.lines
    assert [level for _, level in levels_line.points] == levels
    assert [x for x, _ in levels_line.points] == [300.0, 600.0, 900.0, 1200.0, 1500.0]
    assert fit.points == [(600.0, 350.0), (1500.0, 1250.0)]
    assert chart.band == [(600.0, 350.0, 350.0), (1500.0, 1160.0, 1340.0)]
    assert chart.y_label == "eventfds"


def test_the_provenance_of_claims_has_its_minutes() -> None:
    one = ClaimsRecord(
        "id", "2026-11-29T00:00:00+00:00", {"cores": 2}, "0", (), {}, {}, seconds=3660.0, jobs=3
    )
    assert provenance(one) == "Measured on 2026-11-29 on 2 cores: 0 repeats in 61 min, 3 at a time"


def test_a_flame_graph_shows_the_widest_frames_each_beside_the_next() -> None:
    a, b, c = ("a.py", 1), ("b.py", 2), ("c.py", 3)
    root = tree(
        {(b, a): (2.0, 300.0), (c, a): (1.0, 100.0), (c,): (4.0, 599.0), (b,): (9.0, 0.0), (b, b): (1.0, 1.0)}
    )
    assert (root.blocks, root.size) == (8.0, 1000.0)
    found = [
        (box.name, round(box.left, 4), round(box.width, 4), box.depth, box.blocks) for box in boxes(root)
    ]
    assert found == [
        ("all that grew", 0.0, 1.0, 0, 8.0),
        ("c.py:3", 0.0, 0.599, 1, 4.0),
        ("a.py:1", 0.599, 0.4, 1, 3.0),
        ("b.py:2", 0.599, 0.3, 2, 2.0),
        ("c.py:3", 0.899, 0.1, 2, 1.0),
    ]
    assert len(boxes(root, least=0.001)) == 7
    assert [box.width for box in boxes(tree({}))] == [0.0]
    deep = tree({tuple((f"{n}.py", n) for n in range(100)): (1.0, 1.0)})
    assert max(box.depth for box in boxes(deep)) == 60


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, ""), (1.0, ", about 1 s at the pace of this load"), (None, "")]
)
def test_the_time_to_a_limit_is_stated_from_one_second_on(seconds: float | None, text: str) -> None:
    limit = facts._reached(Exhaustion("RLIMIT_NOFILE", 1024.0, 900.0, seconds))
    assert limit == f"RLIMIT_NOFILE (1,024) after 900 more connections{text}"


@pytest.mark.parametrize(
    ("clients", "text"),
    [
        (None, "whatever the load"),
        (1, "while 1 client stays connected"),
        (50, "while 50 clients stay connected"),
    ],
)
def test_a_limit_that_no_connection_brings_nearer_is_a_time(clients: int | None, text: str) -> None:
    ends = Exhaustion("MemTotal", 8e9, None, 7500.0, clients=clients)
    assert facts._reached(ends) == f"MemTotal (8 GB) after about 2 h 5 min, {text}"


def test_growth_while_connected_is_drawn_from_the_hold_with_the_longest_readings() -> None:
    """A busy service may have answered its first reading late."""

    def hold(index: int, *times: float) -> Observation:
        read = tuple(Reading(10.0 * index + at, {FDS: 10.0 + at}) for at in times)
        return observation(index, {FDS: 10.0}, phase=Phase.HOLD, connected=read)

    finding = Finding(
        "fds", "", "leaking", "event", Rate(1.0, 0.9, 1.1, "fds/event"), "", scope="while-connected"
    )
    none = observation(4, {FDS: 10.0}, connected=(Reading(0.0, {SOCKET: 1.0}), Reading(90.0, {FDS: 1.0})))
    one = trial([], observations=[hold(0, 0.0, 1.0, 9.0), hold(1, 0.0, 9.0, 10.0), hold(2, 0.0, 5.0), none])
    chart = evidence._connected(one, finding, "id")
    assert chart is not None
    assert chart.lines[0].points == [(0.0, 10.0), (9.0, 19.0), (10.0, 20.0)]
    assert [(mark.x, mark.y) for mark in chart.marks] == chart.lines[0].points
    assert chart.rules == [(1024.0, "RLIMIT_NOFILE 1,024")]
    assert chart.x_label == "seconds connected"
    assert evidence._connected(trial([], observations=[none]), finding, "id") is None


def test_labels_stand_beside_their_axis() -> None:
    text = str(
        draw(
            Chart(
                "t",
                "d",
                "seconds",
                "units",
                lines=[Line([(0, 0), (10, 10)], "s")],
                rules=[(8, "near")],
                crashed_at=5,
            )
        )
    )
    ticks_ = re.findall(r'<text class="tick" x="([^"]*)" y="([^"]*)" text-anchor="(\w+)">([^<]*)<', text)
    down, along = [one for one in ticks_ if one[2] == "end"], [one for one in ticks_ if one[2] == "middle"]
    assert [one[3] for one in down] == ["0", "5", "10"]
    assert [one[3] for one in along] == [str(n) for n in range(11)]
    assert {one[0] for one in down} == {"52.0"}
    assert {one[1] for one in along} == {"277.0"}
    assert (along[0][0], along[-1][0]) == ("58.0", "706.0")
    assert re.findall(r'class="(?:ceiling|exited)-label" x="([^"]*)" y="[^"]*" text-anchor="(\w+)"', text) == [
        ("702.0", "end"), ("377.0", "end")]  # fmt: skip
    assert 'class="axis" x="382.0" y="294.0" text-anchor="middle">seconds<' in text
