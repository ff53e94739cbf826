"""The broker without sockets, its clock scripted: services, workers, liveness, MMI, quirks."""

from __future__ import annotations

import json
from random import Random

import pytest

from fake_broker import mdp
from fake_broker.broker import Broker
from fake_broker.quirks import QUIRKS
from fake_broker.state import MAX_PENDING, State

CLIENT, WORKER, OTHER = b"\x00client", b"\x00worker", b"\x00other"


class Script:
    """A broker, its clock, and what it sent, decoded."""

    def __init__(self, dialect: str = "0.2", quirks: str = "none", services: tuple[bytes, ...] = ()) -> None:
        self.now = 100.0
        self.name = dialect
        state = State(self.now, services=services, quirks=QUIRKS[quirks])
        self.broker = Broker(mdp.dialect(dialect), state, Random(1))

    def says(self, identity: bytes, frames: list[bytes]) -> list[tuple[bytes, object]]:
        return self._read(self.broker.receive(identity, frames, self.now))

    def asks(self, service: str, *body: bytes, client: bytes = CLIENT) -> list[tuple[bytes, object]]:
        return self.says(client, mdp.encode_client_request(self.name, service, body))

    def ready(self, service: str = "echo", worker: bytes = WORKER) -> list[tuple[bytes, object]]:
        return self.says(worker, mdp.encode_worker_ready(self.name, service))

    def replies(self, *body: bytes, worker: bytes = WORKER, final: bool = True) -> list[tuple[bytes, object]]:
        return self.says(worker, mdp.encode_worker_reply(self.name, CLIENT, body, final=final))

    def beats(self, worker: bytes = WORKER) -> list[tuple[bytes, object]]:
        return self.says(worker, mdp.encode_worker_heartbeat(self.name))

    def waits(self, seconds: float) -> list[tuple[bytes, object]]:
        self.now += seconds
        return self._read(self.broker.tick(self.now))

    def stat(self, name: str) -> object:
        return self.broker.stats()[name]

    def _read(self, sends: list) -> list[tuple[bytes, object]]:
        sent = []
        for send in sends:
            self.broker.delivered(send)
            decode = mdp.decode_client_reply if send.outgoing.to_client else mdp.decode_to_worker
            sent.append((send.to, decode(self.name, list(send.frames))))
        return sent


@pytest.mark.parametrize("dialect", list(mdp.DIALECTS))
def test_a_request_goes_to_a_worker_and_its_reply_comes_back(dialect: str) -> None:
    script = Script(dialect)
    assert script.ready() == []
    assert script.asks("echo", b"hi") == [(WORKER, mdp.WorkerRequest(CLIENT, (b"hi",)))]
    assert script.stat("working") == 1
    named = None if dialect == "majortomo" else b"echo"
    assert script.replies(b"ho") == [(CLIENT, mdp.ClientReply(named, (b"ho",)))]
    assert (script.stat("working"), script.stat("replies"), script.stat("unanswered")) == (0, 1, 0)


def test_partial_replies_pass_and_leave_the_worker_busy() -> None:
    script = Script()
    script.ready()
    script.asks("echo", b"hi")
    assert script.replies(b"1", final=False) == [(CLIENT, mdp.ClientReply(b"echo", (b"1",), False))]
    assert script.stat("working") == 1
    script.replies(b"2")
    assert (script.stat("partials"), script.stat("replies")) == (1, 1)


def test_requests_wait_for_a_worker_in_order() -> None:
    script = Script()
    assert script.asks("echo", b"1") == []
    assert script.asks("echo", b"2") == []
    assert script.stat("pending") == 2
    assert script.ready() == [(WORKER, mdp.WorkerRequest(CLIENT, (b"1",)))]
    assert script.replies(b"1") == [
        (CLIENT, mdp.ClientReply(b"echo", (b"1",))),
        (WORKER, mdp.WorkerRequest(CLIENT, (b"2",))),
    ]
    assert script.stat("pending") == 0


def test_the_longest_idle_worker_gets_the_request() -> None:
    script = Script()
    script.ready(worker=WORKER)
    script.ready(worker=OTHER)
    assert script.asks("echo", b"1")[0][0] == WORKER
    assert script.asks("echo", b"2")[0][0] == OTHER


def test_workers_get_heartbeats_and_a_silent_one_is_removed() -> None:
    script = Script()
    script.ready(worker=WORKER)
    script.ready(worker=OTHER)
    for _ in range(2):
        assert sorted(script.waits(2.5)) == [(OTHER, mdp.Heartbeat()), (WORKER, mdp.Heartbeat())]
        script.beats(WORKER)
    assert script.waits(2.5) == [(WORKER, mdp.Heartbeat())]  # 7.5 s: three intervals
    assert script.stat("workers") == 1
    assert script.beats(OTHER) == [(OTHER, mdp.Disconnect())]


def test_no_heartbeat_is_sent_before_it_is_due() -> None:
    script = Script()
    script.ready()
    assert script.waits(2.4) == []
    assert script.broker.due() == pytest.approx(102.5)


def test_a_request_is_never_given_to_an_expired_worker() -> None:
    script = Script()
    script.ready()
    script.now += 8.0
    assert script.asks("echo", b"x") == []
    assert (script.stat("workers"), script.stat("pending")) == (0, 1)


def test_a_worker_that_exits_at_work_leaves_its_request_unanswered() -> None:
    script = Script()
    script.ready()
    script.asks("echo", b"x")
    script.waits(10)
    assert (script.stat("workers"), script.stat("unanswered")) == (0, 1)


def test_a_worker_may_send_a_disconnect() -> None:
    script = Script()
    script.ready()
    assert script.says(WORKER, mdp.encode_worker_disconnect("0.2")) == []
    assert script.stat("workers") == 0
    assert script.asks("echo", b"x") == []


@pytest.mark.parametrize("service", ["mmi.service", "mmi.mine"])
def test_no_worker_may_serve_the_brokers_own_names(service: str) -> None:
    assert Script().ready(service) == [(WORKER, mdp.Disconnect())]


def test_ready_twice_or_an_unrequested_reply_disconnects_the_worker() -> None:
    script = Script()
    script.ready()
    assert script.ready() == [(WORKER, mdp.Disconnect())]
    script.ready()
    assert script.replies(b"unasked") == [(WORKER, mdp.Disconnect())]
    assert script.replies(b"unknown") == [(WORKER, mdp.Disconnect())]
    assert script.stat("workers") == 0


def test_internal_services_need_no_worker() -> None:
    script = Script("plantd", services=(b"state",))
    assert script.asks("state", b"ping") == [(CLIENT, mdp.ClientReply(b"state", (b"pong",)))]
    assert script.asks("state", b"a", b"b") == [(CLIENT, mdp.ClientReply(b"state", (b"a", b"b")))]
    for body in ((), (b"",)):
        ((_, reply),) = script.asks("state", *body)
        assert json.loads(reply.body[0]) == {"service": "state", "status": "healthy"}
    assert script.stat("per_service") == {"state": 4}


def test_management_questions_are_answered_by_the_broker() -> None:
    script = Script("plantd", services=(b"state",))
    script.ready("echo")

    def body(service: str, *question: bytes) -> tuple[bytes, ...]:
        ((to, reply),) = script.asks(service, *question)
        assert (to, reply.service, reply.final) == (CLIENT, service.encode(), True)
        return reply.body

    assert body("mmi.service", b"echo") == (b"200",)
    assert body("mmi.service", b"state") == (b"200",)
    assert body("mmi.service", b"nobody") == (b"404",)
    assert body("mmi.service") == (b"404",)
    assert body("mmi.service.echo") == (b"200",)
    assert body("mmi.service.nobody") == (b"404",)
    assert body("mmi.status") == (b"200",)
    assert body("mmi.services") == (b"echo", b"state")
    assert json.loads(body("mmi.metrics")[0])["messages_processed"] == 9
    assert body("mmi.workers", b"echo") == (b"501",)
    assert body("mmi.") == (b"501",)
    script.asks("echo", b"x")
    assert body("mmi.service", b"echo") == (b"404",)  # its only worker is busy


def test_the_plantd_dialect_keeps_its_quirks() -> None:
    script = Script("plantd", quirks="plantd", services=(b"state",))
    assert script.asks("mmi.service", b"a", b"state") == [
        (CLIENT, mdp.ClientReply(b"mmi.service", (b"a", b"200")))
    ]
    assert script.asks("mmi.services", b"")[0][1].body == (b"501",)
    assert script.asks("mmi.status") == []
    assert script.asks("state") == []
    assert script.stat("unanswered") == 2
    # The first frame is taken for the delimiter, whatever it holds.
    assert script.says(CLIENT, [b"junk", b"MDPC02", b"REQUEST", b"state", b"x"])[0][1].body == (b"x",)
    assert script.says(CLIENT, [b"MDPC02", b"\x01", b"state", b"x"]) == []
    assert script.stat("invalid") == {"header": 1}
    # A worker that exits while it has a request is never dropped, an idle one is.
    script.ready("echo", WORKER)
    script.asks("echo", b"x")
    script.ready("echo", OTHER)
    script.waits(60)
    assert (script.stat("workers"), script.stat("working")) == (1, 1)


def test_malformed_messages_are_counted_and_change_nothing() -> None:
    script = Script()
    assert script.says(CLIENT, []) == []
    assert script.says(CLIENT, [b"MDPC02", b"\x09", b"x", b"y"]) == []
    assert script.stat("invalid") == {"short": 1, "command": 1}
    assert script.stat("dropped_frames") == 4
    assert script.stat("requests") == 0


def test_waiting_requests_and_service_names_are_bounded() -> None:
    script = Script()
    for number in range(MAX_PENDING + 50):
        script.asks(f"service-{number}", b"x")
    assert (script.stat("pending"), script.stat("unanswered")) == (MAX_PENDING, 50)
    assert len(script.broker.state.services) == MAX_PENDING
    counted = script.stat("per_service")
    assert len(counted) == 1001
    assert sum(counted.values()) == MAX_PENDING + 50


def test_a_restart_drops_workers_and_requests_but_not_the_counts() -> None:
    script = Script()
    script.ready()
    script.asks("echo", b"at work")
    script.asks("echo", b"waiting")
    script.broker.restart(script.now)
    assert (script.stat("workers"), script.stat("pending"), script.stat("working")) == (0, 0, 0)
    assert (script.stat("requests"), script.stat("unanswered")) == (2, 2)
