"""Inputs for the pinned decisions of the smaller parts of the core: crash logs, secrets, settling, claims, budgets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import figures
from harness.core.budget import merge_budgets, retain_for, shared
from harness.core.budget_file import parse
from harness.core.claims import Claim, conclude, order, share_interval
from harness.core.judge.crash import crash_of
from harness.core.judge.trial import judge
from harness.core.measurement import Measurement
from harness.core.outline import outline
from harness.core.plan import Goal
from harness.core.quiescence import Tracker
from harness.core.record import ExitInfo
from harness.core.redact import Redactor, is_secret
from harness.core.sample import Sample
from harness.core.secret_values import secrets_in_body, secrets_in_header, secrets_in_url, secrets_in_words
from tests.core.series import trial

ROOT = Path(__file__).parents[2]


def crashes() -> Iterator[tuple[str, Any]]:
    """Logs of real crashes (tests/crashes)."""
    for file in sorted((ROOT / "tests" / "crashes" / "logs").glob("*.log")):
        lines = tuple(file.read_text().splitlines())
        for code in (-11, 1, None):
            ended = replace(trial([310, 610, 910]), exit=ExitInfo(code, 9.0, 950, lines))
            yield (
                f"crash {file.stem} {code}",
                lambda ended=ended: {"crash": crash_of(ended), "verdict": judge(ended)},
            )


TEXTS = (
    "GET /a?token=abcdef&x=1&api_key=zzzz9 HTTP/1.1", "Authorization: Bearer abcdefgh12345",
    "cookie=sid=1234; theme=dark",
    '{"password": "hunter2", "user": "x", "keep-alive": 5}', "--api-key XYZ123 --port 80 --token=qq", "user:pw@host",
    "postgres://bob:s3cret@db:5432/x?sslmode=require", "next=%2Fx%3Ftoken%3Dabc", "auth: ok",
    "auth.py:12: KeyError: 'x'",
    'Digest username="bob", realm="x", nonce="abc", response="123"', "(b'authorization', b'Basic Zm9vOmJhcg==')",
    "PASSWORD=hunter2 FOO=1", "Cookie:[sid=1 b=2]", "secret => 'a b c', other => 3", "the key: 3 of session id",
    "Set-Cookie: a=b; HttpOnly", "x-api-key=[1,2]", "my value is topsecretvalue99 here", "sk-abc123 and SK-ABC123",
)  # fmt: skip


def words() -> Iterator[tuple[str, Any]]:
    """Texts with secrets, of which each word is pinned."""

    def redacted() -> Any:
        own = Redactor(("topsecretvalue99", "hunter2", "a b", "abc"), ("sk-[a-z0-9]+", "z{4}"))
        both = own.with_more(("theme", "dark!"), ("HTTP",))
        return [
            [one.text(text).split() for text in TEXTS] + [list(one.words(text.split())) for text in TEXTS]
            for one in (Redactor(), own, both)
        ]

    def secrets_found() -> Any:
        return {
            "names": {name: is_secret(name) for text in TEXTS for name in text.replace("=", " ").split()},
            "urls": [[one.split() for one in secrets_in_url(text)] for text in TEXTS],
            "words": [[one.split() for one in secrets_in_words(text.split())] for text in TEXTS],
            "headers": [[one.split() for one in secrets_in_header(name, text)] for text in TEXTS
                        for name in ("Cookie", "X-Key")],
            "bodies": [[one.split() for one in secrets_in_body(text)] for text in (
                       *TEXTS, "a=1&password=longenough99&b=2",
                       '{"token": 12345, "list": ["averyveryverylongtext", {"pin": "1234"}], "ok": true}', "one\ntwo")],
        }  # fmt: skip

    yield "redacted", redacted
    yield "secret values", secrets_found


def settling() -> Iterator[tuple[str, Any]]:
    """Counts of services that rest, poll, climb, sink and never rest, read four times a second."""
    patterns = {
        "rest": lambda n: 10 + max(0, 8 - n), "poll": lambda n: 10 + (n % 5 == 0), "climb": lambda n: 10 + n // 8,
        "sink": lambda n: max(10, 90 - n // 2), "saw": lambda n: 10 + n % 13, "gap": lambda n: None if n == 9 else 10,
        "steps": lambda n: 10 + 3 * (n // 30), "bursts": lambda n: 100 + (n % 7) * (n % 11),
    }  # fmt: skip
    for name, of in patterns.items():
        for window, still, falling in ((1.0, None, False), (2.0, 1.0, True), (0.5, 3.0, False)):

            def feed(of=of, window=window, still=still, falling=falling) -> Any:  # type: ignore[no-untyped-def]
                tracker = Tracker(1.0, window, 20.0, still, falling)
                read = [tracker.feed(1.0 + 0.25 * n, {"fds": of(n), "threads": 4.0}) for n in range(90)]
                return [(type(one).__name__, one) for one in read[::3]]

            yield f"settle {name} {window} {falling}", feed


def judged_claims() -> Iterator[tuple[str, Any]]:
    """Claims by every rule on seeded measurements."""

    def rows() -> Any:
        rng, found = random.Random(5), []
        for by, value in (("crashes", ""), ("prevents", ""), ("as-described", ""), ("outcome", "leaking"),
                          ("recognised", "emfile"), ("within", "3 6"), ("later", ""),
                          ("proportional", "4 0.5"), ("none", "")):  # fmt: skip
            for size in (3, 5, 20, 24):

                def some(often: float, size: int = size) -> tuple[Measurement, ...]:
                    return tuple(
                        Measurement(rng.choice(("leaking", "bounded")) if rng.random() > often else "crashed",
                                    rng.random() < 0.8, "seen", rng.uniform(2.0, 7.0), rng.randrange(900), 7, 9,
                                    seen=("emfile",) if rng.random() < 0.8 else (), advice=rng.choice(("", "more")),
                                    pace=tuple((n, 8.0 * n * rng.uniform(0.9, 1.1)) for n in (1, 2, 4)))
                        for _ in range(size)
                    )  # fmt: skip

                measured = {"a": some(rng.choice((0.0, 0.6, 1.0))), "b": some(rng.choice((0.0, 0.6, 1.0)))}
                trials = (("a", rng.choice((5, 20))), *([("b", 5)] if by == "later" else []))
                found.append(
                    conclude(Claim(by, "1", "it is so", by, trials, value, "no such thing"), measured)
                )
        return found

    yield "claims", rows
    yield "shares", lambda: [share_interval(k, n) for n in (1, 5, 20) for k in range(0, n + 1, 3)]
    yield "order", lambda: order({"a": 3, "b": 1, "c": 2}, {"a": 1, "c": 5})


def small_parts() -> Iterator[tuple[str, Any]]:
    """Outlines, budgets and figures."""

    def outlines() -> Any:
        goals = [Goal(300, 50, 1.0, ("/",)), Goal(1, 1, 1.0, ("/",), cycles=1, idle_cycles=2, memory=False),
                 Goal(9000, 700, 1.0, ("/",), vary=False, max_seconds=30.0),
                 Goal(300, 50, 1.0, ("/",), max_seconds=600.0)]  # fmt: skip
        return [outline(goal, sensitivity, most) for goal in goals for sensitivity in (1e-3, 0.05, 1e-4)
                for most in (None, 60.0)]  # fmt: skip

    def budgets() -> Any:
        data = {
            "budget": {"fds": "1/100 connections", "memory": ["1 KiB/connection", "2 MB/hour", "1/connected hour"],
                       "threads": "2/event", "retain": {"fds": "5m", "*": "30s"},
                       "ceilings": {"fds": 500, "memory": "64 MiB"},
                       "pools": {"threads": 20}, "require": {"memory": ["1 KiB/stream", "1 MiB/hour"]}},
            "endpoint": {"/a": {"fds": "0/connection", "retain": "9s"}, "/b": {"memory/objects": "3/event"}},
            "profile": {"nightly": {"ceilings": {"threads": 9}}},
        }  # fmt: skip
        file = parse(data, source="budgets.toml", where=lambda place: "/".join(map(str, place)))
        both = shared(tuple(file.endpoints.values()))
        over = merge_budgets(file.common, both)
        return file, both, over, [retain_for(over.retain, key, 60.0) for key in ("fds", "fds/pipe", "tasks")]

    yield "outlines", outlines
    yield "budgets", budgets
    yield "samples", lambda: [list(figures.of_sample(one, "app")) for one in (
        None, Sample(1.0, gap="gone"), Sample(1.0, fds=3, threads=2, rss=5, cpu=0.5))]  # fmt: skip


def small_scenarios() -> Iterator[tuple[str, Any]]:
    """Every scenario of this module by its name."""
    for part in (crashes, words, settling, judged_claims, small_parts):
        yield from part()
