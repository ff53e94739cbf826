"""The request of each stream: distinct clients, invalid requests, and statuses that are expected."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.core.errors import ConfigError
from harness.core.expected import ANY_STATUS, statuses
from harness.http import causes
from harness.http.endpoint import Endpoint
from harness.swarm.load import LoadOptions
from harness.swarm.requests import INVALID, KINDS, Clients, Requests
from harness.swarm.setup import SwarmSetup

ENDPOINT = Endpoint.parse("http://127.0.0.1:8000")


def requests(
    paths: tuple[str, ...] = ("/events",), streaming: bool = True, **more: Any
) -> tuple[Requests, Clients]:
    turns = {name: more.pop(name) for name in ("client_start", "client_step") if name in more}
    load = LoadOptions(**more)
    clients = Clients(SwarmSetup("http://127.0.0.1:8000", load, **turns))
    return Requests(ENDPOINT, load, clients, paths, streaming=streaming), clients


def test_statuses_and_classes_of_them() -> None:
    assert statuses(["503", "404"]) == {503, 404}
    assert statuses(["4xx"]) == set(range(400, 500))
    assert statuses(["4XX", "503"]) == {*range(400, 500), 503}
    assert statuses([]) is None


@pytest.mark.parametrize("text", ["", "600", "99", "1xx", "4x", "5xxx", "abc", "-503", "503 ", "٥٠٣"])
def test_invalid_statuses_are_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expect=.*expected a status from 200 to 599"):
        statuses([text])


def test_an_expected_status_is_no_failure_and_any_other_is() -> None:
    expect = statuses(["429", "503"])

    def cause(status: int) -> str | None:
        return causes.of_response(status, b"", b"", "7", streaming=False, expect=expect)

    assert cause(503) is None
    assert cause(429) is None
    assert cause(200) == "status-200"
    assert causes.of_response(503, b"", b"", "7", streaming=False) == "rate-limited-503"


def test_by_default_all_streams_are_of_one_client() -> None:
    made, clients = requests()
    assert {made.of("/events").encode() for _ in range(5)} == {made.of("/events").encode()}
    assert b"X-Client-Id" not in made.of("/events").encode()
    assert clients.distinct(5) == 1
    assert clients.distinct(0) == 0


def test_clients_are_used_in_rotation_over_all_cycles() -> None:
    made, clients = requests(clients=3)
    sent = [made.of("/events").encode() for _ in range(7)]
    assert [int(one.partition(b"X-Client-Id: ")[2].split(b"\r\n")[0]) for one in sent] == [
        0,
        1,
        2,
        0,
        1,
        2,
        0,
    ]
    assert clients.distinct(7) == 3


def test_the_placeholder_stands_in_path_query_header_and_body() -> None:
    made, clients = requests(
        ("/users/{client}/events?user={client}",), method="POST", body=b'{"user": "{client}"}',
        headers={"Authorization": "Bearer user-{client}"},
    )  # fmt: skip
    path = "/users/{client}/events?user={client}"
    made.of(path)
    sent = made.of(path).encode()
    assert sent.startswith(b"POST /users/1/events?user=1 HTTP/1.1\r\n")
    assert b"Bearer user-1\r\n" in sent
    assert sent.endswith(b'{"user": "1"}')
    assert clients.distinct(2) == 2
    assert b"X-Client-Id" not in sent


@pytest.mark.parametrize(("count", "workers"), [(10, 3), (0, 2), (2, 4)])
def test_the_clients_of_several_workers_are_distinct(count: int, workers: int) -> None:
    seen: list[int] = []
    told = 0
    for worker in range(workers):
        made, clients = requests(
            clients=count, headers={"X": "{client}"}, client_start=worker, client_step=workers
        )
        for _ in range(20):
            seen.append(int(made.of("/events").headers["X"]))
        told += clients.distinct(20)
    if count:
        assert set(seen) <= set(range(count))
    if workers <= count or not count:
        assert told == len(set(seen))


def test_kinds_of_invalid_requests_rotate_and_each_differs_in_one_thing() -> None:
    made, _ = requests(headers={"Authorization": "Bearer good", "Cookie": "session=good"})
    sent = [made.of("/events", invalid=True) for _ in range(2 * len(INVALID))]
    lines = [one.encode() for one in sent]
    assert Counter(lines) == dict.fromkeys(lines, 2)
    assert all(one.expect is ANY_STATUS for one in sent)
    good = made.of("/events")
    assert good.encode() not in lines
    assert good.expect is None
    by_kind = {name: KINDS[name](good).encode() for name in INVALID}
    assert by_kind["wrong path"].startswith(b"GET /events/harness-unknown HTTP/1.1\r\n")
    assert by_kind["wrong method"].startswith(b"PUT /events HTTP/1.1\r\n")
    assert b"Authorization: Bearer harness-unknown" in by_kind["bad credentials"]
    assert b"good" not in by_kind["bad credentials"]
    assert by_kind["bad body"].endswith(b'{"harness": ')
    assert b"POST " in by_kind["bad body"]
    assert b"?session_id=harness-unknown" in by_kind["unknown session"]
    assert b"Mcp-Session-Id: harness-unknown" in by_kind["unknown session"]
