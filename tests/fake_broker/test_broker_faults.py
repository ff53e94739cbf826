"""Each fault on the broker without sockets, its clock scripted and its generator seeded."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from fake_broker import mdp
from fake_broker.broker import Broker
from fake_broker.fault import FAULTS, Bind, Read, Restart, Unbind, Wire
from fake_broker.spec import SpecError, parse
from fake_broker.state import State

A, B, WORKER = b"\x00a", b"\x00b", b"\x00w"
ECHO = b"echo"


class Script:
    """A broker with an internal service ``echo``, its clock, and the frames it sent."""

    def __init__(self, dialect: str = "plantd") -> None:
        self.now = 0.0
        self.name = dialect
        self.broker = Broker(
            mdp.dialect(dialect), State(0.0, services=(ECHO, b"other")), Random(7), proxied=True
        )

    def on(self, fault: str, **keys: Any) -> int:
        number, sends = self.broker.add_fault(parse({"fault": fault, **keys}), self.now)
        self.at_once = self._taken(sends)
        return number

    def off(self, number: int) -> list[tuple[bytes, Any]]:
        return self._read(self.broker.remove_fault(number, self.now))

    def asks(self, body: bytes = b"hi", client: bytes = A, service: str = "echo") -> list[tuple[bytes, Any]]:
        return self._read(self.raw(body, client, service))

    def raw(self, body: bytes = b"hi", client: bytes = A, service: str = "echo") -> list[Any]:
        frames = mdp.encode_client_request(self.name, service, [body])
        return self.broker.receive(client, frames, self.now)

    def frames(self) -> list[bytes]:
        (send,) = self.raw()
        return list(send.frames)

    def worker(self, frames: list[bytes], identity: bytes = WORKER) -> list[tuple[bytes, Any]]:
        return self._taken(self.broker.receive(identity, frames, self.now))

    def waits(self, seconds: float, peers: int = 0) -> list[tuple[bytes, Any]]:
        self.now += seconds
        return self._read(self.broker.tick(self.now, peers))

    def stat(self, name: str) -> Any:
        return self.broker.stats()[name]

    def orders(self) -> list[Any]:
        taken = list(self.broker.socket_orders)
        self.broker.socket_orders.clear()
        return taken

    def _read(self, sends: list[Any]) -> list[tuple[bytes, Any]]:
        for send in sends:
            self.broker.delivered(send)
        return [
            (
                s.to,
                mdp.decode_client_reply(self.name, list(s.frames))
                if s.outgoing.to_client
                else s.outgoing.message,
            )
            for s in sends
        ]

    def _taken(self, sends: list[Any]) -> list[tuple[bytes, Any]]:
        return [(s.to, s.outgoing.message) for s in sends]


def final(body: bytes = b"hi", service: bytes = ECHO) -> mdp.ClientReply:
    return mdp.ClientReply(service, (body,))


def partial(body: bytes = b"hi") -> mdp.ClientReply:
    return mdp.ClientReply(ECHO, (body,), False)


# -- reply


def test_silence_counts_and_does_not_answer() -> None:
    script = Script()
    number = script.on("silence")
    assert script.asks() == []
    assert script.asks(service="other") == []
    assert (script.stat("requests"), script.stat("unanswered"), script.stat("replies")) == (2, 2, 0)
    assert script.off(number) == []
    assert script.asks() == [(A, final())]


def test_latency_delays_within_its_jitter_and_by_the_seed() -> None:
    def run() -> list[float]:
        script = Script()
        script.on("latency", delay=1.0, jitter=0.5)
        times = []
        for _ in range(50):
            assert script.asks() == []
            times.append(script.broker._due[0][0] - script.now)
            assert script.waits(2.0)[-1] == (A, final())
        return times

    times = run()
    assert min(times) >= 0.5
    assert max(times) <= 1.5
    assert len(set(times)) > 40
    assert run() == times


def test_a_late_reply_is_sent_after_the_clients_timeout() -> None:
    script = Script()
    script.on("late", timeout=1.0, margin=0.1, times=1)
    assert script.asks(b"old") == []
    assert script.waits(1.05) == []
    assert script.waits(0.05) == [(A, final(b"old"))]
    assert script.asks(b"new") == [(A, final(b"new"))]
    assert script.stat("unanswered") == 0


def test_one_behind_sends_the_reply_to_the_previous_request() -> None:
    script = Script()
    number = script.on("one-behind")
    assert script.asks(b"1") == []
    assert script.asks(b"1", client=B) == []
    assert script.asks(b"2") == [(A, final(b"1"))]
    assert script.stat("unanswered") == 0
    assert script.off(number) == [(B, final(b"1")), (A, final(b"2"))]


def test_drop_loses_the_reply() -> None:
    script = Script()
    script.on("drop", every=2)
    assert [len(script.asks()) for _ in range(4)] == [1, 0, 1, 0]
    assert script.stat("unanswered") == 2


def test_hold_waits_for_the_barrier() -> None:
    script = Script()
    number = script.on("hold")
    assert script.asks(b"1") == []
    assert script.asks(b"2", client=B) == []
    assert script.waits(3600.0) == []
    assert (script.stat("held"), script.stat("unanswered")) == (2, 0)
    assert script._read(script.broker.release(script.now)) == [(A, final(b"1")), (B, final(b"2"))]
    assert script.asks(b"3") == []
    assert script._read(script.broker.clear(script.now)) == [(A, final(b"3"))]
    assert number not in script.broker.chain.active
    assert script.stat("held") == 0


def test_duplicate_sends_it_again() -> None:
    script = Script()
    script.on("duplicate", copies=3)
    assert script.asks() == [(A, final())] * 3


def test_partial_only_never_ends() -> None:
    script = Script()
    script.on("partial-only")
    assert script.asks() == [(A, partial())]
    assert (script.stat("unanswered"), script.stat("partials")) == (1, 1)


def test_partial_after_final() -> None:
    script = Script()
    script.on("partial-after-final")
    assert script.asks() == [(A, final()), (A, partial())]
    assert script.stat("unanswered") == 0


def test_endless_partial_continues_until_cleared_or_the_peer_has_disconnected() -> None:
    script = Script()
    number = script.on("endless-partial", interval=0.5)
    assert script.asks() == [(A, partial())]
    assert script.asks(client=B) == [(B, partial())]
    assert script.waits(0.5) == [(A, partial()), (B, partial())]
    script.now += 0.5
    gone, alive = script.broker.tick(script.now)
    script.broker.undeliverable(gone)
    script.broker.delivered(alive)
    assert script.waits(0.5) == [(B, partial())]
    script.off(number)
    assert script.waits(5.0) == []
    assert (script.stat("unanswered"), script.stat("delayed")) == (2, 0)


def test_swap_gives_two_clients_each_others_reply() -> None:
    script = Script()
    number = script.on("swap")
    assert script.asks(b"a") == []
    assert script.stat("unanswered") == 0
    assert script.asks(b"b", client=B) == [(A, final(b"b")), (B, final(b"a"))]
    assert script.asks(b"c") == []
    assert script.off(number) == [(A, final(b"c"))]
    assert script.stat("unanswered") == 0


def test_wrong_service_names_another() -> None:
    script = Script()
    script.on("wrong-service", named="elsewhere")
    assert script.asks() == [(A, final(service=b"elsewhere"))]


def test_error_code_replaces_the_body() -> None:
    script = Script()
    script.on("error-code", code="404")
    assert script.asks() == [(A, final(b"404"))]


def test_garbage_has_its_size() -> None:
    script = Script()
    script.on("garbage", size=9)
    ((_, reply),) = script.asks()
    assert len(reply.body[0]) == 9
    assert reply.body != (b"hi",)


@pytest.mark.parametrize("dialect", list(mdp.DIALECTS))
def test_empty_body_is_an_empty_frame_or_none(dialect: str) -> None:
    script = Script(dialect)
    whole = script.frames()
    number = script.on("empty-body")
    assert script.frames() == [*whole[:-1], b""]
    script.off(number)
    script.on("empty-body", missing=True)
    assert script.frames() == whole[:-1]


# -- malformed


@pytest.mark.parametrize("dialect", list(mdp.DIALECTS))
def test_a_delimiter_is_added_or_removed(dialect: str) -> None:
    script = Script(dialect)
    whole = script.frames()
    number = script.on("delimiter")
    assert script.frames() == [b"", *whole]
    script.off(number)
    if whole[0] == b"":
        script.on("delimiter", change="missing")
        assert script.frames() == whole[1:]
    else:
        with pytest.raises(SpecError, match=f"no effect in dialect {dialect}: .* expected change=extra"):
            script.on("delimiter", change="missing")


CHANGES: dict[str, dict[str, Any]] = {
    "delimiter": {"change": "missing"},
    "empty-body": {"missing": True},
    "latency": {"delay": 1.0},
}


@pytest.mark.parametrize("dialect", list(mdp.DIALECTS))
@pytest.mark.parametrize(
    "fault",
    [name for name, kind in FAULTS.items() if kind.group in ("reply", "malformed") and not kind.needs_proxy],
)
def test_a_fault_changes_the_reply_in_every_dialect_or_is_refused(dialect: str, fault: str) -> None:
    def replies(script: Script) -> list[tuple[bytes, list[bytes]]]:
        sent = [send for client in (A, B, A, B) for send in script.raw(client, client)]
        return [(send.to, list(send.frames)) for send in sent]

    script = Script(dialect)
    try:
        script.on(fault, **CHANGES.get(fault, {}))
    except SpecError as error:
        refusal = str(error)
    else:
        # Some act on the second reply only, or on those of two clients.
        refusal = "" if replies(script) != replies(Script(dialect)) else "no effect"
    assert not refusal or dialect in refusal


@pytest.mark.parametrize(
    ("dialect", "fault"),
    [
        (dialect, fault)
        for dialect in mdp.DIALECTS
        for fault in ("header", "unknown-command", "delimiter")
        if (dialect, fault) != ("0.1", "unknown-command")  # its replies have no command frame
    ],
)
def test_a_client_refuses_what_is_malformed(dialect: str, fault: str) -> None:
    script = Script(dialect)
    change = "missing" if dialect in ("0.1", "majortomo") else "extra"
    script.on(fault, **({"change": change} if fault == "delimiter" else {}))
    expected = "command" if fault == "unknown-command" else fault
    with pytest.raises(mdp.ProtocolError) as caught:
        mdp.decode_client_reply(dialect, script.frames())
    assert caught.value.reason == expected


def test_truncate_keeps_the_first_frames() -> None:
    script = Script()
    script.on("truncate", keep=1)
    assert script.frames() == [b"MDPC02"]


def test_not_utf8_is_in_the_service_frame() -> None:
    script = Script()
    script.on("not-utf8")
    ((_, reply),) = script.asks()
    with pytest.raises(UnicodeDecodeError):
        reply.service.decode()


def test_many_frames() -> None:
    script = Script()
    script.on("many-frames", count=3000)
    assert len(script.frames()) == 3004


def test_wire_faults_see_what_the_others_made() -> None:
    script = Script()
    script.on("truncate", keep=3)
    script.on("wrong-service", named="x")
    script.on("hold")
    assert script.asks() == []
    (send,) = script.broker.release(script.now)
    assert list(send.frames) == [b"MDPC02", b"FINAL", b"x"]


# -- oversize, lifecycle, capacity: what they ask of the sockets


def test_huge_frame() -> None:
    script = Script()
    script.on("huge-frame", size=1_000_000)
    assert [len(f) for f in script.frames()] == [6, 5, 4, 2, 1_000_000]


def test_frame_limit_restarts_the_broker_with_it_and_again_without() -> None:
    script = Script()
    number = script.on("frame-limit", size=100)
    assert script.orders() == [Restart(max_frame=100)]
    script.off(number)
    assert script.orders() == [Restart()]


def test_not_reading() -> None:
    script = Script()
    number = script.on("not-reading")
    assert script.orders() == [Read(False)]
    script.off(number)
    assert script.orders() == [Read(True)]


def test_unbind_and_rebind_after_its_time() -> None:
    script = Script()
    script.on("unbind", down=2.0)
    assert script.orders() == [Unbind()]
    assert script.broker.due() == 2.0
    script.waits(1.9)
    assert script.orders() == []
    script.waits(0.1)
    assert script.orders() == [Bind()]


def test_unbind_until_cleared_inside_a_window() -> None:
    script = Script()
    script.on("unbind", after=5.0, until=6.0)
    assert script.orders() == []
    script.waits(5.0)
    assert script.orders() == [Unbind()]
    script.waits(1.0)
    assert script.orders() == [Bind()]
    assert script.stat("faults") == []


def test_a_fault_that_never_began_has_nothing_to_end() -> None:
    script = Script()
    number = script.on("unbind", after=5.0)
    script.off(number)
    assert script.orders() == []


def test_restart_listens_again_later() -> None:
    script = Script()
    script.on("restart", down=1.0)
    assert script.orders() == [Restart(listen=False)]
    script.waits(1.0)
    assert script.orders() == [Bind()]


def test_accept_then_refuse() -> None:
    script = Script()
    script.on("accept-then-refuse", accept=2, service="echo")
    assert [script.asks() for _ in range(3)] == [[(A, final())], [(A, final())], [(A, final(b"503"))]]
    assert script.asks(service="other") == [(A, final(service=b"other"))]
    assert script.stat("unanswered") == 0


def test_accept_then_send_nothing() -> None:
    script = Script()
    script.on("accept-then-refuse", accept=0, code="")
    assert script.asks() == []
    assert script.stat("unanswered") == 1


@pytest.mark.parametrize(
    ("keys", "begin", "end"),
    [
        ({"fault": "max-peers", "peers": 2}, Wire({"max_peers": 2}), Wire({"max_peers": -1})),
        ({"fault": "half-open"}, Wire(cut="half-open"), Wire(reset_silenced=True)),
        ({"fault": "slices", "size": 3}, Wire({"slice": 3, "gap": 0.0}), Wire({"slice": 0, "gap": 0.0})),
        ({"fault": "pause", "delay": 2}, Wire({"pause": 2.0}), Wire({"pause": 0.0})),
        (
            {"fault": "byte-limit", "size": 9, "then": "fin"},
            Wire({"limit": 9, "limit_end": "fin"}),
            Wire({"limit": 0}, reset_silenced=True),
        ),
    ],
)
def test_transport_faults_are_orders_to_the_proxy(keys: dict[str, Any], begin: Wire, end: Wire) -> None:
    script = Script()
    number = script.on(**keys)
    assert script.orders() == [begin]
    script.off(number)
    assert script.orders() == [end]


def test_cut_once_or_again_and_again() -> None:
    script = Script()
    script.on("cut", how="fin")
    script.waits(10.0)
    assert script.orders() == [Wire(cut="fin")]
    script.on("cut", interval=1.0)
    script.waits(1.0)
    assert script.orders() == [Wire(cut="rst"), Wire(cut="rst")]


def test_transport_faults_are_refused_without_a_proxy() -> None:
    broker = Broker(mdp.dialect("plantd"), State(0.0), Random(1))
    for kind in FAULTS.values():
        if kind.needs_proxy:
            with pytest.raises(SpecError, match="start the broker with --proxy"):
                broker.add_fault(parse({"fault": kind.name}), 0.0)


# -- heartbeat


def with_worker(dialect: str = "plantd") -> Script:
    script = Script(dialect)
    script.worker(mdp.encode_worker_ready(dialect, "work"))
    return script


def test_stop_heartbeat_outwards() -> None:
    script = with_worker()
    script.on("stop-heartbeat")
    assert script.waits(2.5) == []
    script.worker(mdp.encode_worker_heartbeat("plantd"))
    script.waits(5.0)
    assert script.stat("workers") == 1


@pytest.mark.parametrize(("direction", "beats"), [("in", 1), ("both", 0)])
def test_stop_heartbeat_inwards_makes_the_broker_remove_the_worker(direction: str, beats: int) -> None:
    script = with_worker()
    script.on("stop-heartbeat", direction=direction)
    assert len(script.waits(2.5)) == beats
    for _ in range(2):
        script.worker(mdp.encode_worker_heartbeat("plantd"))
        script.waits(2.5)
    assert script.stat("workers") == 0


def test_heartbeat_interval_changes_and_is_restored() -> None:
    script = with_worker()
    number = script.on("heartbeat-interval", interval=0.1)
    assert script.waits(0.1) == [(WORKER, mdp.Heartbeat())]
    script.off(number)
    assert script.waits(0.1) == []
    assert script.broker.state.interval == 2.5


def test_an_unprovoked_disconnect_is_sent_to_the_matching_workers() -> None:
    script = with_worker()
    script.worker(mdp.encode_worker_ready("plantd", "play"), identity=B)
    script.on("disconnect", service="wo*")
    assert script.at_once == [(WORKER, mdp.Disconnect())]
    assert script.stat("workers") == 1
    assert script.worker(mdp.encode_worker_ready("plantd", "work")) == []


def test_disconnect_again_and_again() -> None:
    script = with_worker()
    script.on("disconnect", interval=1.0)
    script.worker(mdp.encode_worker_ready("plantd", "work"))
    assert script.waits(1.0) == [(WORKER, mdp.Disconnect())]


def test_disconnect_during_a_request() -> None:
    script = with_worker()
    script.on("disconnect-during-request")
    sends = script.raw(service="work")
    assert script._taken(sends) == [(WORKER, mdp.WorkerRequest(A, (b"hi",))), (WORKER, mdp.Disconnect())]
    assert (script.stat("workers"), script.stat("unanswered")) == (0, 1)


# -- matching


def fired(script: Script, count: int, **keys: Any) -> list[int]:
    """Which of ``count`` requests went unanswered, counted from 1."""
    script.on("drop", **keys)
    return [n for n in range(1, count + 1) if not script.asks()]


def test_nth_every_and_times() -> None:
    assert fired(Script(), 6, nth=3) == [3]
    assert fired(Script(), 6, every=2) == [2, 4, 6]
    assert fired(Script(), 6, times=1) == [1]
    assert fired(Script(), 9, every=3, times=2) == [3, 6]


def test_probability_follows_the_seed() -> None:
    first, second = (fired(Script(), 400, probability=0.25) for _ in range(2))
    assert first == second
    assert 60 < len(first) < 140


def test_a_fault_matches_services_and_identities() -> None:
    script = Script()
    script.on("drop", service="ot*")
    script.on("drop", identity=B.hex())
    assert len(script.asks()) == 1
    assert script.asks(service="other") == []
    assert script.asks(client=B) == []


def test_a_fault_acts_only_within_its_window() -> None:
    script = Script()
    script.on("drop", after=1.0, until=2.0)
    answered = []
    for _ in range(5):
        answered.append(len(script.asks()))
        script.waits(0.5)
    assert answered == [1, 1, 0, 0, 1]
    assert script.stat("faults") == []


def test_message_narrows_a_fault_or_widens_it_where_it_can() -> None:
    script = with_worker()
    script.on("drop", message="HEARTBEAT")
    assert script.waits(2.5) == []
    assert script.asks() == [(A, final())]


def test_faults_are_reported_as_they_were_requested() -> None:
    script = Script()
    number = script.on("latency", delay=0.5, service="echo")
    script.asks()
    script.asks(service="other")
    assert script.stat("faults") == [
        {"id": number, "fault": "latency", "delay": 0.5, "service": "echo", "seen": 1, "fired": 1}
    ]


def test_an_unknown_id_cannot_be_cleared() -> None:
    with pytest.raises(SpecError, match="no fault with id 9 is active; active are none"):
        Script().off(9)


def test_faults_that_need_partial_are_refused_where_there_is_none() -> None:
    for kind in FAULTS.values():
        if kind.needs_partial:
            with pytest.raises(SpecError, match=r"needs PARTIAL, which dialect 0\.1 lacks"):
                Script("0.1").on(kind.name)


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("dialect", ["plantd", "0.2", "majortomo"])
def test_every_fault_survives_all_traffic_and_ends_cleanly(fault: str, dialect: str) -> None:
    """On, traffic of every kind, off: afterwards the broker answers as if nothing had been."""
    script = Script(dialect)
    if why := parse({"fault": fault}).fault.why_no_effect(mdp.dialect(dialect)):
        with pytest.raises(SpecError, match=why):
            script.on(fault)
        return
    script.worker(mdp.encode_worker_ready(dialect, "work"))
    number = script.on(fault)
    script.broker.tick(0.0)
    for client in (A, B, A):
        script.raw(client=client)
        script.raw(client=client, service="mmi.services")
        script.raw(client=client, service="work")
    for frames in (
        mdp.encode_worker_reply(dialect, A, [b"1"], final=False),
        mdp.encode_worker_reply(dialect, A, [b"2"]),
        mdp.encode_worker_heartbeat(dialect),
        mdp.encode_worker_disconnect(dialect),
        [b"junk"],
    ):
        script.worker(frames)
    for _ in range(5):
        script.now += 0.4
        script.broker.tick(script.now, peers=3)
    script.broker.remove_fault(number, script.now)
    script.broker.release(script.now)
    script.now += 10.0
    script.broker.tick(script.now)
    assert script.asks(b"after") == [
        (A, mdp.ClientReply(None if dialect == "majortomo" else ECHO, (b"after",)))
    ]
    assert (script.stat("held"), script.stat("delayed")) == (0, 0)


# -- peers of another dialect


def test_a_peer_of_another_dialect_is_named_once() -> None:
    script = Script("plantd")
    for _ in range(3):
        assert script.worker(mdp.encode_client_request("0.2", "echo", [b"hi"]), A) == []
    assert script.stat("foreign") == {"0.2": 3}
    assert script.broker.notices == [
        "peer 0061 sends dialect 0.2; this broker uses plantd: start it with --dialect 0.2. "
        "Further ones are only counted (stats: invalid)"
    ]
    script.worker([b"GET / HTTP/1.1"], A)
    script.worker([b"GET / HTTP/1.1"], B)
    assert len(script.broker.notices) == 2
    assert script.broker.notices[1].startswith(
        "peer 0061 sends a message of no known dialect (header b'GET /"
    )
    assert script.stat("foreign") == {"0.2": 3}


@pytest.mark.parametrize("ours", list(mdp.DIALECTS))
@pytest.mark.parametrize("theirs", list(mdp.DIALECTS))
def test_every_pair_of_dialects_is_distinguished_or_understood(ours: str, theirs: str) -> None:
    script = Script(ours)
    script.worker(mdp.encode_client_request(theirs, "echo", [b"hi"]), A)
    assert bool(script.broker.notices) is (ours != theirs)
    assert script.stat("requests") == (ours == theirs)
