"""What memory mappings that grew are of: deleted files, files, or anonymous memory. Their levels are a total, because
kinds change without any growth."""

from __future__ import annotations

from harness.core.cycle import Phase
from harness.core.record import Trial

MIN_SHARE = 0.97  # of the growth that one kind must have to explain it
OF = {"deleted": "of deleted files", "file": "of files", "anonymous": "of anonymous memory"}
DELETED = " (deleted)"  # what the kernel appends to the path of a deleted file


def mapped_text(trial: Trial) -> str:
    """``2,060 of 2,068 are of deleted files, such as /tmp/a``: the kind that the mappings which were added after the
    warm-up are of. Empty where no kind explains them, and after a restart, which begins anew."""
    read = [
        one.census
        for one in trial.observations
        if one.settled and one.spec.phase is not Phase.WARMUP and one.census and one.census.mappings
    ]
    if len(read) < 2 or trial.restarts:
        return ""
    first, last = read[0], read[-1]
    grown = {kind: count - first.mappings.get(kind, 0) for kind, count in last.mappings.items()}
    total = sum(last.mappings.values()) - sum(first.mappings.values())
    kind = max(grown, key=lambda one: (grown[one], one))
    if total <= 0 or not MIN_SHARE * total <= grown[kind]:
        return ""
    examples = last.examples.get(f"mappings/{kind}", ())
    known = first.examples.get(f"mappings/{kind}", ())
    path = next((one for one in examples if one not in known), next(iter(examples), ""))
    such = f", such as {path.removesuffix(DELETED)}" if path else ""
    return f"{min(grown[kind], total):,} of {total:,} are {OF.get(kind, f'of the kind {kind}')}{such}"
