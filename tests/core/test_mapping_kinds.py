"""What the memory mappings that grew are of, and the step that gives them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from harness.core.cycle import Phase
from harness.core.judge.advice import next_step
from harness.core.judge.mapping_kinds import mapped_text
from harness.core.judge.trial import judge
from harness.core.metric import Key
from harness.core.record import Trial
from harness.core.sample import Census
from tests.core.series import FDS, observation, trial

MAPPINGS = Key("mappings")
EXAMPLES = {"mappings/deleted": ("/tmp/kept (deleted)",), "mappings/file": ("/usr/lib/libc.so.6",)}


def mapped(kinds: Sequence[Mapping[str, int]]) -> Trial:
    """A service with these mappings after each cycle of 300 connections, the first being the warm-up."""
    seen = []
    for index, each in enumerate(kinds):
        census = Census(0.0, fds={"file": 5}, mappings=each, examples=EXAMPLES if index else {})
        levels = {MAPPINGS: float(sum(each.values())), FDS: 5.0}
        phase = Phase.LOAD if index else Phase.WARMUP
        seen.append(observation(index, levels, phase=phase, opened=300, census=census))
    return trial([], observations=seen)


def test_mappings_that_are_all_of_deleted_files_are_named_with_the_step_that_unmaps_them() -> None:
    """The advice for a C service that never unmapped its files was to close what each connection opens."""
    verdict = judge(mapped([{"anonymous": 20, "file": 15, "deleted": 60 * n} for n in range(8)]))
    (found,) = verdict.findings
    assert "360 of 360 are of deleted files, such as /tmp/kept" in found.explanation
    assert verdict.advice == (
        "unmap what each connection maps when the stream ends: call munmap, or free what was allocated; "
        "360 of 360 are of deleted files, such as /tmp/kept"
    )


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (
            {"deleted": 0, "anonymous": 10}, {"deleted": 97, "anonymous": 13},
            "97 of 100 are of deleted files, such as /tmp/kept",
        ),
        ({"deleted": 0, "anonymous": 10}, {"deleted": 96, "anonymous": 14}, ""),
        ({"anonymous": 10}, {"anonymous": 60}, "50 of 50 are of anonymous memory"),
        ({"anonymous": 10, "[x]": 1}, {"anonymous": 8, "[x]": 43}, "40 of 40 are of the kind [x]"),
        ({"anonymous": 10}, {"anonymous": 10}, ""),
        ({"anonymous": 10}, {"anonymous": 9}, ""),
    ],
)  # fmt: skip
def test_one_kind_must_explain_nearly_all_of_the_growth(
    first: Mapping[str, int], last: Mapping[str, int], text: str
) -> None:
    assert mapped_text(mapped([first, first, last])) == text
    assert mapped_text(mapped([first, last])) == "", "the warm-up does not count"


@pytest.mark.parametrize(
    ("runtime", "words"),
    [("python", "close each mmap in a finally block"), ("rust", "drop each Mmap"), ("native", "call munmap, or free")],
)  # fmt: skip
def test_each_language_has_its_own_step(runtime: str, words: str) -> None:
    assert words in next_step("answered-stream", runtime, "mappings")
    assert next_step("event", runtime, "mappings").startswith("unmap what each event maps: ")
