"""--notify: sent when an outcome changes, with retries and a limit, and without showing the address."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import ConfigError, NotificationError
from harness.core.notice import notices, payload
from harness.export import webhook
from harness.export.webhook import Webhook
from harness.history.record import History
from tests.edges.command_line import SERVICES, SMALL, URL, harness
from tests.history.nightly_runs import measured, nightly_run, nightly_runs
from tests.history.webhook_server import SECRET, receiver

SAYS = (
    "import os, sys; sys.stderr.write(repr(dict(os.environ))); sys.stderr.flush(); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def changes(*outcomes: str) -> list[tuple[str, str]]:
    """(previous, outcome) of every notice of a sequence of runs."""
    found, earlier = [], []
    for number, outcome in enumerate(outcomes):
        entry = nightly_run(number, measured(0.0))
        entry = replace(entry, trials=(replace(entry.trials[0], outcome=outcome),))
        found += [(one.previous, one.trial.outcome) for one in notices(entry, earlier)]
        earlier.append(entry)
    return found


def test_each_change_of_outcome_is_reported_once() -> None:
    sent = changes("bounded", "bounded", "leaking", "leaking", "crashed", "bounded", "bounded")
    assert sent == [("bounded", "leaking"), ("leaking", "crashed"), ("crashed", "bounded")]


def test_a_first_run_is_notified_only_if_it_fails() -> None:
    assert changes("bounded") == []
    assert changes("leaking", "leaking") == [("", "leaking")]


def test_inconclusive_runs_are_no_change_of_outcome() -> None:
    assert changes("bounded", "inconclusive", "infrastructure", "bounded") == []
    assert changes("leaking", "inconclusive", "leaking", "infrastructure", "bounded") == [
        ("", "leaking"),
        ("leaking", "bounded"),
    ]


def test_runs_are_compared_only_within_a_branch_and_a_target() -> None:
    first, second = nightly_runs([0.0, 0.21])
    assert len(notices(second, [first])) == 1
    assert notices(second, [replace(first, branch="topic")])[0].previous == ""
    assert notices(second, [nightly_run(0, measured(0.0), target="other")])[0].previous == ""


def test_the_text_is_for_slack_and_mentions_no_user() -> None:
    first, second = nightly_runs([0.0, 0.21])
    trial = replace(second.trials[0], target="<!channel> & <https://x|y>\n\x1b[31m", explanation="a" * 9000)
    before = replace(first, trials=(replace(first.trials[0], target=trial.target),))
    (notice,) = notices(replace(second, trials=(trial,)), [before])
    data = payload(notice)
    assert data["text"].startswith("&lt;!channel&gt; &amp; &lt;https://x|y&gt;")
    assert "bounded → leaking on main at commit 0000001000" in data["text"]
    assert "\x1b" not in str(data)
    assert len(str(data)) < 6000
    assert (data["event"], data["outcome"], data["previous"]) == ("outcome-changed", "leaking", "bounded")


def test_a_server_that_fails_twice_is_tried_again() -> None:
    waits: list[float] = []
    with receiver(503, 429, 200, retry_after="3") as hook:
        Webhook(hook.url).send({"text": "x"}, pause=waits.append)
    assert [kind for _, kind, _ in hook.seen] == ["application/json"] * 3
    assert waits == [3.0, 3.0]


@pytest.mark.parametrize(("answers", "tries"), [((500,), 4), ((404,), 1), ((400,), 1)])
def test_a_server_that_refuses_is_one_error_without_the_address(answers: tuple[int, ...], tries: int) -> None:
    waits: list[float] = []
    with (
        receiver(*answers, retry_after="99999") as hook,
        pytest.raises(NotificationError, match=f"127.0.0.1: it answers {answers[0]}") as failed,
    ):
        Webhook(hook.url).send({"text": "x"}, pause=waits.append)
    assert len(hook.seen) == tries
    assert all(wait <= 5 for wait in waits)
    assert SECRET not in str(failed.value)


def test_sending_to_a_server_that_never_answers_is_given_up_after_four_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", 0.2)
    with receiver(0) as hook, pytest.raises(NotificationError, match="no notification to 127"):
        Webhook(hook.url).send({"text": "x"}, pause=lambda _: None)
    assert len(hook.seen) == 4


def test_a_message_never_follows_a_redirect_to_another_server() -> None:
    with (
        receiver(200) as other,
        receiver(307, location=other.url) as hook,
        pytest.raises(NotificationError, match="redirects with 307") as failed,
    ):
        Webhook(hook.url).send({"text": "x"}, pause=lambda _: None)
    assert other.seen == []
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize(
    "url", ["ftp://x/sesame", "https://", "http://[sesame", "sesame", "https://x:99999/sesame"]
)
def test_an_address_that_is_invalid_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="notify: ") as failed:
        Webhook(url)
    assert "sesame" not in str(failed.value)


@pytest.mark.parametrize(
    "by",
    ["option", pytest.param("environment", marks=pytest.mark.soak(reason="the same message as by option"))],
)
def test_a_guard_notifies_of_a_new_leak_without_the_secret(by: str, tmp_path: Path) -> None:
    with History(str(tmp_path / "reports" / "history.db")) as history:
        history.add(nightly_run(0, measured(0.0), target="plain", branch=""))
    with receiver(200) as hook:
        option = ("--notify", hook.url) if by == "option" else ()
        env = {"HARNESS_HISTORY": ""} | ({"HARNESS_NOTIFY": hook.url} if by == "environment" else {})
        done = harness(
            "guard", *SMALL, "--runtime", "none", "--quiet", "--target", "plain", *option, "--out", "run", "--url", URL,
            "--", sys.executable, "-c", SAYS, SERVICES / "plain_sse.py", "{port}", "eventfd", cwd=tmp_path, env=env,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (message,) = hook.messages
    assert (message["previous"], message["outcome"], message["target"]) == ("bounded", "leaking", "plain")
    assert message["text"].startswith("plain: bounded → leaking")
    assert hook.seen[0][0].endswith(SECRET)
    assert SECRET not in done.stdout + done.stderr
    for folder, _, names in os.walk(tmp_path):
        for name in names:
            assert SECRET.encode() not in (Path(folder) / name).read_bytes(), name


def test_an_unreachable_webhook_changes_neither_verdict_nor_exit_code(tmp_path: Path) -> None:
    """A service that requires a login is judged within a second; its notification is like that of a leak."""
    done = harness(
        "guard", *SMALL, "--quiet", "--notify", f"http://127.0.0.1:9/{SECRET}", "--out", "run", "--url", URL, "--",
        sys.executable, SERVICES / "difficult.py", "{port}", "login", cwd=tmp_path, env={"HARNESS_HISTORY": "h.db"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("UNREADY"), done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("harness: the notification failed: no notification to 127.0.0.1: ")
    assert line.endswith("the verdict stands")
    assert SECRET not in done.stdout + done.stderr


def test_notify_without_a_history_is_a_usage_error(tmp_path: Path) -> None:
    done = harness(
        "guard",
        "--notify",
        f"http://127.0.0.1:9/{SECRET}",
        "--history",
        "none",
        "--url",
        URL,
        "--",
        "true",
        cwd=tmp_path,
    )
    assert (done.returncode, "expected a history" in done.stderr) == (2, True), done.stderr
    assert SECRET not in done.stderr
