"""Secrets are found by their names and by their values, and other text is not changed."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, OptionError
from harness.core.record import About, ExitInfo, TargetInfo, Trial
from harness.core.redact import MASK, MAX_PATTERN, Redactor, is_secret
from harness.core.secret_values import secrets_in_body, secrets_in_header, secrets_in_url, secrets_in_words
from harness.core.texts import mapped
from tests.core.series import trial

BY_NAME = Redactor()
MASKED = {
    "GET /x?token=abc&n=1&sig=d HTTP/1.1": "GET /x?token=***&n=1&sig=*** HTTP/1.1",
    "x?filter[api_key]=abc&n=1": "x?filter[api_key]=***&n=1",
    "url=http://h/?n=1&access_token=abc": "url=http://h/?n=1&access_token=***",
    "http://user:pass@host/x": "http://***@host/x",
    "https://ghp_abc@host/x": "https://***@host/x",
    "postgresql+psycopg://u:p@ss@db:5432/x": "postgresql+psycopg://***@db:5432/x",
    "serve --api-key X9 --port 80": "serve --api-key *** --port 80",
    "serve --token=abc PASSWORD=x": "serve --token=*** PASSWORD=***",
    'serve --secret "a b" x': "serve --secret *** x",
    '{"password": "a b", "n": 1}': '{"password": "***", "n": 1}',
    '{"a": {"apiKey": 12, "n": 1}}': '{"a": {"apiKey": ***, "n": 1}}',
    r"{\"password\": \"ab\", \"n\": 1}": r"{\"password\": \"***\", \"n\": 1}",
    r'{"secret": "a\"b", "n": 1}': '{"secret": "***", "n": 1}',
    "{'Authorization': 'Bearer x', 'q': 1}": "{'Authorization': '***', 'q': 1}",
    "[(b'host', b'h'), (b'cookie', b'a=1; b=2')]": "[(b'host', b'h'), (b'cookie', b'***')]",
    "Authorization: Basic dTpw": "Authorization: ***",
    "Proxy-Authorization: Digest username=x, response=y": "Proxy-Authorization: ***",
    'Authorization: Digest username="a", nonce="n", response="r"': "Authorization: ***",
    """sent 'Digest username="a", response="r"' there""": "sent 'Digest ***' there",
    "GET /x?%74oken=abc&n=1": "GET /x?%74oken=***&n=1",
    "/login?next=%2Fx%3Ftoken%3Dabc%26n%3D1&a=2": "/login?next=%2Fx%3Ftoken%3D***%26n%3D1&a=2",
    "Set-Cookie: sid=1; Path=/": "Set-Cookie: ***",
    "x-auth-token: abc, accept: y": "x-auth-token: ***, accept: y",
    "password: hunter2": "password: ***",
    "session_id=abc": "session_id=***",
    "X-Amz-Credential=a/b&X-Amz-Signature=c": "X-Amz-Credential=***&X-Amz-Signature=***",
    "sent bearer eyJhbGci.abc-def": "sent bearer ***",
    'params {"token" => "abc"}': 'params {"token" => "***"}',
}
UNTOUCHED = (
    "KeyError: 'name'",
    "digest of a=1 and b=2",
    "/x?a%5B%5D=1&b=%20c",
    "author=me; authority: h",
    "keep-alive: timeout=5",
    "at src/auth.py:12 in login",
    "tests/test_token.py::test_x[a=1]",
    "fds/tcp-out:5432 per connection: 1",
    "+1.00 fds/eventfd per connection: rose with every connection (indistinguishable from: event)",
    "pass --header 'Authorization: …', which is left out",
    "http://127.0.0.1:8000/events?since=1#x@y",
    "max-age=5 --retry 3 user@host",
    "budgets: /etc/budgets.toml",
    "/etc/passwd: cannot be executed",
    "open /run/secrets/api-token: permission denied",
)


@pytest.mark.parametrize("text", MASKED)
def test_a_value_beside_a_secret_name_is_masked_and_the_rest_stays(text: str) -> None:
    assert BY_NAME.text(text) == MASKED[text]
    assert BY_NAME.text(MASKED[text]) == MASKED[text], "once more changes nothing"


@pytest.mark.parametrize("text", UNTOUCHED)
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    assert BY_NAME.text(text) == text


@pytest.mark.parametrize(
    ("name", "secret"),
    [("token", True), ("key", True), ("password", True), ("secret", True), ("signature", True), ("auth", True),
     ("X-Api-Key", True), ("accessToken", True), ("DB_PASSWORD", True), ("sessionid", True), ("Cookie", True),
     ("aws_secret_access_key", True), ("client-secret", True), ("csrf_token", True), ("AWS_SESSION_TOKEN", True),
     ("KeyError", False), ("keyboard", False), ("author", False), ("monkey", False), ("password-file", False),
     ("token_type", False), ("events", False), ("", False)],
)  # fmt: skip
def test_a_name_is_recognised_as_that_of_a_secret(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_command_lines_are_masked_word_by_word() -> None:
    words = [
        "serve",
        "--api-key",
        "-x y",
        "--auth",
        "--port",
        "80",
        "--token=",
        "TOKEN=a=b",
        "--url",
        "http://u:p@h/",
    ]
    shown = (
        "serve",
        "--api-key",
        "***",
        "--auth",
        "--port",
        "80",
        "--token=",
        "TOKEN=***",
        "--url",
        "http://***@h/",
    )
    assert BY_NAME.words(words) == shown


@pytest.mark.parametrize("secret", ["p4ss", "S3cr et/+=", "q\"u\\o'te\n2", "ümlaut-1", "***x***y1"])
def test_an_exact_value_is_masked_in_every_spelling(secret: str) -> None:
    known = Redactor((secret,))
    for text in (secret, repr(secret), f'"{secret}"', *map(str, (secret.encode("unicode_escape"),))):
        if secret in text or repr(secret)[1:-1] in text:
            assert secret not in known.text(f"a {text} b")
            assert "***" in known.text(f"a {text} b")


def test_short_values_are_masked_as_whole_words_only() -> None:
    known = Redactor(("ab12", "xy", "longenough1"))
    assert known.text("ab12 ab123 xy xlongenough1y") == "*** ab123 xy x***y"


def test_values_are_found_where_the_user_gave_them() -> None:
    assert {"u:p%40", "p@", "a b"} <= set(secrets_in_url("http://u:p%40@h/?n=1&token=a%20b"))
    assert set(secrets_in_words(["s", "--key", "a1b2", "T_TOKEN=c3d4", "--auth", "--n", "e5"])) == {
        "a1b2",
        "c3d4",
    }
    assert {"Bearer x1", "x1"} == set(secrets_in_header("Authorization", "Bearer x1"))
    assert "v2" in set(secrets_in_header("Cookie", "a=v1; b=v2"))
    body = '{"user": "someone", "password": "word", "deep": [{"pin": "99-88"}]}'
    assert {"word", "99-88", body} <= set(secrets_in_body(body))
    assert "someone" not in set(secrets_in_body(body)), "an ordinary word would be replaced everywhere"


def test_a_pattern_of_the_user_is_masked_and_a_wrong_one_is_named() -> None:
    assert Redactor(patterns=(r"sk-\d+", "x*")).text("a sk-12 xx b") == "a *** *** b"
    with pytest.raises(ConfigError, match=r"redact='\(': missing \)"):
        Redactor(patterns=("(",))


def test_a_trial_keeps_its_structure_and_loses_its_secrets() -> None:
    trial_with_texts = Trial(
        name="token=abc",
        target=TargetInfo(("s",), "http://h/?token=abc", 1),
        budget=trial([1.0]).budget,
        observations=trial([1.0, 2.0]).observations,
        exit=ExitInfo(-6, 1.0, 2, ("password=abc", "plain")),
        about=About(last_lines=("key=abc",)),
    )
    clean = BY_NAME.value(trial_with_texts)
    assert (clean.name, clean.target.url) == ("token=***", "http://h/?token=***")
    assert clean.exit == replace(trial_with_texts.exit, log_tail=("password=***", "plain"))  # type: ignore[type-var]
    assert clean.about == About(last_lines=("key=***",))
    assert BY_NAME.value({"token=1": 1, "token=2": 2}) == {"token=***": 1, "token=*** (2)": 2}
    assert clean.observations is trial_with_texts.observations, "nothing is copied in vain"
    everything = mapped(trial_with_texts, lambda _: "x")
    assert [o.levels for o in everything.observations] == [o.levels for o in trial_with_texts.observations]
    assert [o.spec.disconnect for o in everything.observations] == [
        o.spec.disconnect for o in trial_with_texts.observations
    ]


@given(st.text(alphabet="token=:\"'\\{}[](), \nab@/?&-"))
def test_redacting_never_fails_and_twice_is_once(text: str) -> None:
    once = Redactor(("abab",), ("b{3}",)).text(text)
    assert Redactor(("abab",), ("b{3}",)).text(once) == once


LONG = (
    "a" * 100_000, "a=" * 50_000, 'token=\\"' * 12_000, "'a'," * 30_000, "http://" * 15_000, "-a " * 40_000,
    '"token":"' * 10_000, "cookie:" * 15_000, "basic " * 20_000, " " * 100_000, "'key','" * 20_000, "@" * 100_000,
    'token="' + "\\" * 100_000, "http://" + "a" * 100_000, "x:[" * 30_000, "a-" * 50_000, "[" * 100_000,
)  # fmt: skip


def test_time_grows_with_the_length_and_not_with_its_square() -> None:
    """The square would be ten thousand times that of a text of a thousand characters, or minutes."""
    began = time.process_time()
    for text in LONG:
        Redactor(("some-secret",)).text(text)
    assert time.process_time() - began < 20.0


@pytest.mark.parametrize("value", ["http://\udcff.example/hook", "pass\ud800word", "häslich\udcfe"])
def test_a_secret_that_is_no_utf8_is_replaced_too(value: str) -> None:
    """Bytes of the command line that are not UTF-8 are lone surrogates."""
    assert Redactor((value,)).text(f"it was {value} today") == "it was *** today"


@pytest.mark.parametrize(("length", "taken"), [(MAX_PATTERN, True), (MAX_PATTERN + 1, False)])
def test_a_pattern_has_at_most_a_thousand_characters(length: int, taken: bool) -> None:
    pattern = "a" * (length - 1) + "+"
    if taken:
        assert Redactor(patterns=(pattern,)).text("x" + "a" * length) == f"x{MASK}"
    else:
        with pytest.raises(
            OptionError, match=rf"{MAX_PATTERN + 1} characters; expected at most {MAX_PATTERN}"
        ):
            Redactor(patterns=(pattern,))
