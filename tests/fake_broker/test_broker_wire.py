"""The wire: golden vectors written out from the RFCs and from the peers' sources, and properties over any frames."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fake_broker import mdp

ID = b"\x00\x80\x00\x41\xa7"
"""A ROUTER identity as libzmq makes them: a zero byte and a counter."""

CLIENT_REQUESTS = {
    "0.1": [b"", b"MDPC01", b"echo", b"hi", b""],
    "0.2": [b"MDPC02", b"\x01", b"echo", b"hi", b""],
    "plantd": [b"", b"MDPC02", b"REQUEST", b"echo", b"hi", b""],
    "majortomo": [b"", b"MDPC02", b"\x02", b"echo", b"hi", b""],
}
CLIENT_FINALS = {
    "0.1": [b"", b"MDPC01", b"echo", b"hi"],
    "0.2": [b"MDPC02", b"\x03", b"echo", b"hi"],
    "plantd": [b"MDPC02", b"FINAL", b"echo", b"hi"],
    "majortomo": [b"", b"MDPC02", b"\x04", b"hi"],
}
CLIENT_PARTIALS = {
    "0.2": [b"MDPC02", b"\x02", b"echo", b"hi"],
    "plantd": [b"MDPC02", b"PARTIAL", b"echo", b"hi"],
    "majortomo": [b"", b"MDPC02", b"\x03", b"hi"],
}
READY = {
    "0.1": [b"", b"MDPW01", b"\x01", b"echo"],
    "0.2": [b"MDPW02", b"\x01", b"echo"],
    "plantd": [b"", b"MDPW02", b"READY", b"echo"],
    "majortomo": [b"", b"MDPW02", b"\x01", b"echo"],
}
WORKER_REQUESTS = {
    "0.1": [b"", b"MDPW01", b"\x02", ID, b"", b"hi"],
    "0.2": [b"MDPW02", b"\x02", ID, b"", b"hi"],
    "plantd": [b"MDPW02", b"REQUEST", ID, b"", b"hi"],
    "majortomo": [b"", b"MDPW02", b"\x02", ID, b"", b"hi"],
}
WORKER_PARTIALS = {
    "0.2": [b"MDPW02", b"\x03", ID, b"", b"hi"],
    "plantd": [b"", b"MDPW02", b"PARTIAL", ID, b"hi"],
    "majortomo": [b"", b"MDPW02", b"\x03", ID, b"", b"hi"],
}
WORKER_FINALS = {
    "0.1": [b"", b"MDPW01", b"\x03", ID, b"", b"hi"],
    "0.2": [b"MDPW02", b"\x04", ID, b"", b"hi"],
    "plantd": [b"", b"MDPW02", b"FINAL", ID, b"hi"],
    "majortomo": [b"", b"MDPW02", b"\x04", ID, b"", b"hi"],
}
HEARTBEATS = {
    "0.1": ([b"", b"MDPW01", b"\x04"], [b"", b"MDPW01", b"\x04"]),
    "0.2": ([b"MDPW02", b"\x05"], [b"MDPW02", b"\x05"]),
    "plantd": ([b"", b"MDPW02", b"HEARTBEAT"], [b"MDPW02", b"HEARTBEAT"]),
    "majortomo": ([b"", b"MDPW02", b"\x05"], [b"", b"MDPW02", b"\x05"]),
}
DISCONNECTS = {
    "0.1": ([b"", b"MDPW01", b"\x05"], [b"", b"MDPW01", b"\x05"]),
    "0.2": ([b"MDPW02", b"\x06"], [b"MDPW02", b"\x06"]),
    "plantd": ([b"", b"MDPW02", b"DISCONNECT"], [b"MDPW02", b"DISCONNECT"]),
    "majortomo": ([b"", b"MDPW02", b"\x06"], [b"", b"MDPW02", b"\x06"]),
}

each_dialect = pytest.mark.parametrize("name", list(mdp.DIALECTS))


@each_dialect
def test_client_messages_match_the_golden_vectors(name: str) -> None:
    request = mdp.ClientRequest(b"echo", (b"hi", b""))
    assert mdp.encode_client_request(name, "echo", [b"hi", b""]) == CLIENT_REQUESTS[name]
    assert mdp.decode_inbound(name, CLIENT_REQUESTS[name]) == request
    named = None if name == "majortomo" else b"echo"
    assert mdp.encode_client_reply(name, "echo", [b"hi"]) == CLIENT_FINALS[name]
    assert mdp.decode_client_reply(name, CLIENT_FINALS[name]) == mdp.ClientReply(named, (b"hi",), True)
    if name in CLIENT_PARTIALS:
        assert mdp.encode_client_reply(name, "echo", [b"hi"], final=False) == CLIENT_PARTIALS[name]
        assert mdp.decode_client_reply(name, CLIENT_PARTIALS[name]) == mdp.ClientReply(named, (b"hi",), False)


@each_dialect
def test_worker_messages_match_the_golden_vectors(name: str) -> None:
    assert mdp.encode_worker_ready(name, "echo") == READY[name]
    assert mdp.decode_inbound(name, READY[name]) == mdp.WorkerReady(b"echo")
    request = mdp.WorkerRequest(ID, (b"hi",))
    assert mdp.encode_to_worker(name, request) == WORKER_REQUESTS[name]
    assert mdp.decode_to_worker(name, WORKER_REQUESTS[name]) == request
    assert mdp.encode_worker_reply(name, ID, [b"hi"]) == WORKER_FINALS[name]
    assert mdp.decode_inbound(name, WORKER_FINALS[name]) == mdp.WorkerReply(ID, (b"hi",), True)
    if name in WORKER_PARTIALS:
        assert mdp.encode_worker_reply(name, ID, [b"hi"], final=False) == WORKER_PARTIALS[name]
        assert mdp.decode_inbound(name, WORKER_PARTIALS[name]) == mdp.WorkerReply(ID, (b"hi",), False)


@each_dialect
def test_heartbeat_and_disconnect_match_the_golden_vectors(name: str) -> None:
    to_broker, to_worker = HEARTBEATS[name]
    assert mdp.encode_worker_heartbeat(name) == to_broker
    assert mdp.decode_inbound(name, to_broker) == mdp.Heartbeat()
    assert mdp.encode_to_worker(name, mdp.Heartbeat()) == to_worker
    assert mdp.decode_to_worker(name, to_worker) == mdp.Heartbeat()
    to_broker, to_worker = DISCONNECTS[name]
    assert mdp.encode_worker_disconnect(name) == to_broker
    assert mdp.decode_inbound(name, to_broker) == mdp.Disconnect()
    assert mdp.encode_to_worker(name, mdp.Disconnect()) == to_worker
    assert mdp.decode_to_worker(name, to_worker) == mdp.Disconnect()


def test_the_oldest_dialect_has_no_partial_reply() -> None:
    with pytest.raises(mdp.UnsupportedMessage, match=r"dialect 0\.1 has no"):
        mdp.encode_client_reply("0.1", "echo", [b"x"], final=False)
    with pytest.raises(mdp.UnsupportedMessage, match=r"dialect 0\.1 has no"):
        mdp.encode_worker_reply("0.1", ID, [b"x"], final=False)


def test_a_body_is_required_where_the_rfc_requires_it() -> None:
    assert mdp.encode_client_request("plantd", "mmi.status") == [b"", b"MDPC02", b"REQUEST", b"mmi.status"]
    for name in ("0.1", "0.2"):
        with pytest.raises(mdp.UnsupportedMessage, match="at least one body frame"):
            mdp.encode_client_request(name, "mmi.status")


def test_an_unknown_dialect_names_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"unknown dialect 'rfc7': expected one of plantd, 0\.1, 0\.2, majortomo"
    ):
        mdp.dialect("rfc7")


def test_plantd_swallows_an_empty_frame_after_the_address() -> None:
    frames = [b"", b"MDPW02", b"FINAL", ID, b"", b"hi"]
    assert mdp.decode_inbound("plantd", frames) == mdp.WorkerReply(ID, (b"hi",), True)


@pytest.mark.parametrize(
    ("name", "frames", "reason"),
    [
        ("plantd", [], "short"),
        ("plantd", [b""], "short"),
        ("plantd", [b"", b"MDPC02"], "short"),
        ("plantd", [b"MDPC02", b"REQUEST", b"echo", b"x"], "delimiter"),
        ("0.2", [b"", b"MDPC02", b"\x01", b"echo", b"x"], "delimiter"),
        ("0.1", [b"MDPC01", b"echo", b"x"], "delimiter"),
        ("plantd", [b"", b"MDPC01", b"echo", b"x"], "header"),
        ("0.1", [b"", b"MDPC02", b"\x01", b"echo", b"x"], "header"),
        ("plantd", [b"", b"MDPC02", b"\x01", b"echo", b"x"], "command"),
        ("0.2", [b"MDPC02", b"\x02", b"echo", b"x"], "command"),
        ("plantd", [b"", b"MDPC02", b"REQUEST"], "envelope"),
        ("0.2", [b"MDPW02", b"\x04", ID, b"x"], "envelope"),
        ("0.2", [b"MDPC02", b"\x01", b"echo"], "body"),
        ("0.1", [b"", b"MDPW01", b"\x04", b"more"], "trailing"),
    ],
)
def test_invalid_messages_are_refused_for_their_reason(name: str, frames: list[bytes], reason: str) -> None:
    with pytest.raises(mdp.ProtocolError) as caught:
        mdp.decode_inbound(name, frames)
    assert caught.value.reason == reason


def test_no_two_dialects_take_each_others_requests() -> None:
    for name, frames in CLIENT_REQUESTS.items():
        for other in mdp.DIALECTS:
            if other != name:
                with pytest.raises(mdp.ProtocolError):
                    mdp.decode_inbound(other, frames)


REASONS = {"short", "delimiter", "header", "command", "envelope", "body", "trailing"}

names = st.sampled_from(list(mdp.DIALECTS))
bodies = st.lists(st.binary(max_size=20), min_size=1, max_size=5)
words = st.sampled_from(
    [
        b"",
        b"MDPC01",
        b"MDPC02",
        b"MDPW01",
        b"MDPW02",
        b"REQUEST",
        b"FINAL",
        b"PARTIAL",
        b"READY",
        b"HEARTBEAT",
    ]
    + [bytes([n]) for n in range(8)]
)


@given(names, st.binary(min_size=1), bodies)
def test_the_broker_decodes_messages_of_a_client(name: str, service: bytes, body: list[bytes]) -> None:
    frames = mdp.encode_client_request(name, service, body)
    assert mdp.decode_inbound(name, frames) == mdp.ClientRequest(service, tuple(body))


@given(names, st.binary(min_size=1), bodies, st.booleans())
def test_a_client_decodes_answers_of_the_broker(
    name: str, service: bytes, body: list[bytes], final: bool
) -> None:
    final = final or name == "0.1"
    frames = mdp.encode_client_reply(name, service, body, final=final)
    named = None if name == "majortomo" else service
    assert mdp.decode_client_reply(name, frames) == mdp.ClientReply(named, tuple(body), final)


@given(names, st.binary(min_size=1, max_size=255), bodies, st.booleans())
def test_worker_and_broker_understand_each_other(
    name: str, address: bytes, body: list[bytes], final: bool
) -> None:
    request = mdp.WorkerRequest(address, tuple(body))
    assert mdp.decode_to_worker(name, mdp.encode_to_worker(name, request)) == request
    final = final or name == "0.1"
    if name == "plantd":
        body = [b"x", *body]  # plantd's broker swallows one empty frame in front
    frames = mdp.encode_worker_reply(name, address, body, final=final)
    assert mdp.decode_inbound(name, frames) == mdp.WorkerReply(address, tuple(body), final)


@given(names, st.lists(st.one_of(words, st.binary(max_size=8)), max_size=9))
@example("plantd", [b"", b"", b""])
@example("0.1", [b"", b"MDPC01", b"", b""])
def test_any_frames_give_a_message_or_the_typed_error(name: str, frames: list[bytes]) -> None:
    for decode in (mdp.decode_inbound, mdp.decode_client_reply, mdp.decode_to_worker):
        refusal = None
        try:
            decode(name, frames)
        except mdp.ProtocolError as error:
            refusal = error
        assert refusal is None or refusal.reason in REASONS
        assert "\n" not in str(refusal)
