"""Messages between the swarm's parts, shares of a cycle, times, addresses, cookies."""

from __future__ import annotations

import contextlib
import math
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.cycle import DISCONNECT_MODES, CycleSpec, Ledger
from harness.core.errors import ConfigError
from harness.core.note import Note, NoteKind
from harness.http.cookies import MAX_COOKIES, Cookies
from harness.http.endpoint import Endpoint
from harness.http.route import Address, Route, Router
from harness.http.source_addresses import check_local, check_reach, source_pool
from harness.swarm.histogram import Histogram
from harness.swarm.load import LoadOptions
from harness.swarm.saturation import BUSY, LATE, Saturation
from harness.swarm.setup import SwarmSetup
from harness.swarm.tally import Outcome, add_up
from harness.swarm.wire import (
    BadMessage,
    decode,
    encode,
    outcome_from_dict,
    outcome_to_dict,
    setup_from_dict,
    setup_to_dict,
    spec_from_dict,
    spec_to_dict,
)

few = settings(max_examples=40, deadline=None)

counts = st.integers(0, 1 << 40)
names = st.dictionaries(st.text(max_size=10), counts, max_size=3)
specs = st.builds(
    CycleSpec,
    index=st.integers(0, 1000),
    connections=st.integers(0, 5000),
    concurrency=st.integers(1, 500),
    dwell=st.floats(0, 100),
    events=st.integers(0, 50),
    disconnect=st.sampled_from((*DISCONNECT_MODES, "mixed")),
    paths=st.lists(st.sampled_from(("/", "/a", "/b?c=d")), min_size=1, max_size=3).map(tuple),
    fault=st.sampled_from(("", "silence")),
)
remarks = st.builds(
    Note,
    kind=st.sampled_from(NoteKind),
    text=st.text(max_size=20),
    data=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
ledgers = st.builds(
    Ledger,
    opened=counts,
    completed=counts,
    failed=counts,
    open_now=counts,
    events=counts,
    bytes=counts,
    seconds=st.floats(0, 1e6),
    causes=names,
    details=st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3),
    by_path=names,
    by_mode=names,
    answered=st.none() | counts,
    statuses=st.dictionaries(st.integers(100, 599), counts, max_size=3),
    first_failure=st.text(max_size=10),
    opened_before_failure=st.none() | counts,
    saturated=st.booleans(),
    notes=st.lists(remarks, max_size=3).map(tuple),
)
times = st.dictionaries(st.integers(0, 2000), st.integers(1, 1000), max_size=5).map(Histogram)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def over_the_wire(data: dict[str, Any]) -> dict[str, Any]:
    return decode(encode(data).rstrip(b"\n"))


@few
@given(specs)
def test_a_spec_survives_the_wire(spec: CycleSpec) -> None:
    assert spec_from_dict(over_the_wire(spec_to_dict(spec))) == spec


@few
@given(ledgers, times)
def test_an_outcome_survives_the_wire(ledger: Ledger, first: Histogram) -> None:
    got = outcome_from_dict(over_the_wire(outcome_to_dict(Outcome(ledger, first))))
    assert got.ledger == ledger
    assert got.first_events.counts == first.counts


@few
@given(st.binary(max_size=50), st.dictionaries(st.sampled_from(("X-A", "Accept")), st.text(max_size=9)))
def test_a_setup_survives_the_wire(body: bytes, headers: dict[str, str]) -> None:
    load = LoadOptions(
        body=body,
        headers=headers,
        source_addresses=("127.0.0.2", "::1"),
        max_event=77,
        ca=Path("/etc/ca.pem"),
        seed=5,
        processes=2,
        remote_workers=3,
        bind="127.0.0.1:0",
    )
    setup = SwarmSetup("http://127.0.0.1:1", load, target_pid=7)
    assert setup_from_dict(over_the_wire(setup_to_dict(setup))) == setup


BASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "spec": (spec_from_dict, spec_to_dict(CycleSpec(0, 1, 1, 1.0))),
    "setup": (setup_from_dict, setup_to_dict(SwarmSetup("http://h"))),
    "outcome": (outcome_from_dict, outcome_to_dict(Outcome(Ledger(), Histogram()))),
}


@pytest.mark.parametrize("kind", list(BASES))
@few
@given(data=st.data())
def test_any_invalid_value_is_refused_by_name_and_nothing_else_is_raised(
    kind: str, data: st.DataObject
) -> None:
    """One field of a good message replaced by anything JSON can say, or the whole of it."""
    parse, good = BASES[kind]
    for part in (good, *[value for value in good.values() if isinstance(value, dict)]):
        whole = data.draw(st.booleans()) and part is good
        name = data.draw(st.sampled_from([*part, "unknown"]))
        value = data.draw(json_values)
        broken = value if whole else replaced(good, part, name, value)
        with contextlib.suppress(BadMessage):
            parse(broken)


def replaced(good: dict[str, Any], part: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    if part is good:
        return {**good, name: value}
    (key,) = [key for key, inner in good.items() if inner is part]
    return {**good, key: {**part, name: value}}


@few
@given(st.lists(st.tuples(ledgers, times), min_size=1, max_size=4))
def test_ledgers_of_several_workers_add_up(parts: list[tuple[Ledger, Histogram]]) -> None:
    total = add_up([Outcome(ledger, first) for ledger, first in parts]).ledger
    assert total.opened == sum(ledger.opened for ledger, _ in parts)
    assert total.seconds == max(ledger.seconds for ledger, _ in parts)
    for table in ("causes", "by_path", "by_mode"):
        for key in getattr(total, table):
            assert getattr(total, table)[key] == sum(getattr(x, table).get(key, 0) for x, _ in parts)
        assert set(getattr(total, table)) == {key for x, _ in parts for key in getattr(x, table)}
    assert total.saturated == any(ledger.saturated for ledger, _ in parts)
    assert set(total.notes) == {note for ledger, _ in parts for note in ledger.notes}


@few
@given(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_off_by_two_percent_at_most(values: list[float], share: float) -> None:
    found = Histogram()
    for value in values:
        found.add(value)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert found.quantile(share) == pytest.approx(exact, rel=0.02)


def test_no_values_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


def test_the_generator_states_when_it_was_the_bottleneck() -> None:
    cpu = [0.0]
    busy = Saturation(0.0, lambda: cpu[0])
    busy.tick(0.5, 0.0)
    assert busy.reason is None
    cpu[0] = BUSY * 1.01
    busy.tick(1.0, 0.0)
    assert "core was 91% busy" in (busy.reason or "")
    late = Saturation(0.0, lambda: 0.0)
    late.tick(0.5, LATE * 0.9)
    assert late.reason is None
    late.tick(0.6, LATE)
    assert "its loop was 0.25 s late" in (late.reason or "")
    assert "core" not in (late.reason or "")
    busy.tick(1.1, LATE)
    assert "its core was 91% busy, and its loop was 0.25 s late" in (busy.reason or "")


def test_source_addresses_are_single_ranges_or_networks() -> None:
    assert source_pool("") == ()
    assert source_pool("127.0.0.2, 127.0.0.4-127.0.0.6") == (
        "127.0.0.2",
        "127.0.0.4",
        "127.0.0.5",
        "127.0.0.6",
    )
    assert source_pool("127.0.1.0/30") == ("127.0.1.1", "127.0.1.2")
    assert source_pool("::2-::3") == ("::2", "::3")
    assert len(source_pool("127.1.0.0/16")) == 65_534  # 1.8 thousand million ports


@pytest.mark.parametrize("text", ["x", "127.0.0.9-127.0.0.2", "127.0.0.0/8", "127.0.0.1-::1", "1.2.3.4/99"])
def test_a_bad_source_pool_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="expected an address, FROM-TO, or NET/BITS") as error:
        source_pool(text)
    assert repr(text) in str(error.value)


def test_a_source_that_this_machine_has_not_is_named() -> None:
    check_local(("127.0.0.1", "127.9.9.9"))
    with pytest.raises(
        ConfigError, match=r"203\.0\.113\.9: Cannot assign requested address; expected one of this"
    ):
        check_local(("127.0.0.1", "203.0.113.9"))  # TEST-NET-3 (RFC 5737): assigned to no host


def test_a_source_that_cannot_reach_the_service_is_named() -> None:
    four = Route((Address(socket.AF_INET, ("127.0.0.1", 80)),))
    here = Endpoint.parse("http://127.0.0.1")
    check_reach(("127.0.0.2",), here, four)
    with pytest.raises(ConfigError, match=r"::2 cannot reach 127\.0\.0\.1 \(127\.0\.0\.1\); expected"):
        check_reach(("::2",), here, four)
    unix = Endpoint.parse("http+unix://%2Frun%2Fapp.sock")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.2 cannot reach the Unix socket /run/app\.sock"):
        check_reach(("127.0.0.2",), unix, Route((Address(socket.AF_UNIX, "/run/app.sock"),)))


def test_cookies_go_where_they_belong() -> None:
    now = [1000.0]
    jar = Cookies(lambda: now[0])
    here = Endpoint.parse("http://a.example/app/page")
    jar.store(
        ["p=1", "r=2; Path=/", "m=4; Max-Age=10; Path=/", "=x", "noequals",
         "e=5; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Path=/", "b=6; Expires=rubbish; Path=/"],
        here,
    )  # fmt: skip
    jar.store(["s=3; Secure; Path=/"], Endpoint.parse("https://a.example/"))
    assert jar.header(here) == "p=1; r=2; m=4; b=6"
    assert jar.header(here.at("/apple")) == "r=2; m=4; b=6"  # /app is not a prefix of a path segment
    assert jar.header(Endpoint.parse("https://a.example/")) == "r=2; m=4; b=6; s=3"
    assert jar.header(Endpoint.parse("http://b.example/")) == ""
    now[0] += 11
    assert "m=4" not in jar.header(here)
    jar.store(["r=; Max-Age=0; Path=/"], here)
    assert "r=" not in jar.header(here)
    jar.store([f"c{number}=x; Path=/" for number in range(1000)], here)
    assert jar.header(here).count("=") <= MAX_COOKIES


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://x/", "scheme 'ftp'"),
        ("http://", "names no host"),
        ("http://h:99999/", "out of range"),
        ("/path", "scheme ''"),
        ("http://[fe80::1%25]:80/", "no interface after %25"),
    ],
)
def test_a_bad_url_is_named(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Endpoint.parse(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            "http://[fe80::1]:80/",
            r"'fe80::1' is link-local.*expected a URL such as http://\[fe80::1%25eth0\]",
        ),
        ("http://[fe80::1%25nosuch0]/", r"'fe80::1%nosuch0': this machine has no interface 'nosuch0'"),
        ("http://[::1%2599999]/", "no interface '99999'"),
        ("http://[fe80::1%25²]/", "no interface '²'"),
    ],
)
def test_an_interface_that_is_not_here_is_named(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Router().route(Endpoint.parse(url))


@pytest.mark.parametrize("url", ["http://[fe80::1%25lo]:8000/a", "http://[fe80::1%lo]:8000/a"])
def test_an_ipv6_zone_stays_on_this_machine(url: str) -> None:
    """RFC 6874: it leads to the interface, and into no header, certificate or redirect."""
    found = Endpoint.parse(url)
    (address,) = Router().route(found).addresses
    assert address.sockaddr == ("fe80::1", 8000, 0, socket.if_nametoindex("lo"))
    assert (found.authority, found.name) == ("[fe80::1]:8000", "fe80::1")
    assert found.join("/b").origin == found.join("http://[fe80::1]:8000/b").origin == found.origin
    assert found.join("http://[fe80::2]:8000/b").host == "fe80::2"
