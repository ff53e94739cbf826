"""The decoder compared with four others in one run, in events per second of one core.

python -m bench.sse_decoder [--json FILE] [--rounds N]

Every decoder gets the same chunks and is checked to find the same events; they take turns, and the best time
of each counts, in CPU seconds of this process. The rivals are called at their decoders, past their HTTP, which
is the fastest way to use them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench._sse_rivals import RIVALS
from harness.core.sse.decoder import Decoder

Run = Callable[[list[bytes]], int]

SIZE = 4 << 20  # bytes of each stream
AIM = 1.0  # ahead of the fastest rival
LINEAR = 1.25  # times the cost per byte: the spread of two equal runs here, not an allowance for growth
BIG, MEDIUM, STEP = 64 << 20, 64 << 10, 1024
SIZES = (1 << 10, MEDIUM, 1 << 20, 16 << 20, BIG)  # bytes of an event; the first is the small one


@dataclass(frozen=True)
class Case:
    """One stream: the same event again and again, in chunks of a size that does not divide it."""

    name: str
    event: bytes
    chunk: int
    dispatched: bool = True  # comments are not

    def chunks(self) -> tuple[list[bytes], int]:
        """The stream, and how many events are in it. Ids count up."""
        count = max(1, SIZE // len(self.event))
        stream = b"".join(self.event.replace(b"NNNNNNN", b"%07d" % n) for n in range(count))
        return cut(stream, self.chunk), count


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def padded(head: bytes, size: int) -> bytes:
    """An event of ``size`` bytes, its blank line included."""
    return head + b"x" * (size - len(head) - 2) + b"\n\n"


BARE = padded(b"data: ", 120)
WHOLE = padded(b"id: NNNNNNN\nevent: status\ndata: ", 120)
LARGE = padded(b"data: ", 16 << 10)
BEAT = b": heartbeat\n\n"

CASES = [
    Case("120-byte data events, 4 KiB chunks", BARE, 4096),
    Case("120-byte data events, 200 B chunks", BARE, 200),
    Case("120-byte id+event+data events, 4 KiB chunks", WHOLE, 4096),
    Case("120-byte id+event+data events, 200 B chunks", WHOLE, 200),
    Case("16 KiB events, 4 KiB chunks", LARGE, 4096),
    Case("16 KiB events, 200 B chunks", LARGE, 200),
    Case("heartbeats, 4 KiB chunks", BEAT, 4096, dispatched=False),
    Case("heartbeats, 200 B chunks", BEAT, 200, dispatched=False),
]


def decode(chunks: list[bytes]) -> int:
    decoder = Decoder()
    feed = decoder.feed
    found = 0
    for chunk in chunks:
        for _ in feed(chunk):
            found += 1
    return found or decoder.comments


OURS: dict[str, Run] = {"decoding": decode}


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Events per second, by decoder. Raises SystemExit when one of them finds another number of events."""
    chunks, wanted = case.chunks()
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, run in (OURS | RIVALS).items():
            start = time.process_time()
            found = run(chunks)
            seconds = time.process_time() - start
            # Of comments alone most rivals make nothing, so there is nothing to check there.
            if found != wanted and (case.dispatched or name in OURS):
                sys.exit(f"{name} found {found} events in {case.name}; expected {wanted}")
            best[name] = min(seconds, best.get(name, seconds))
    return {name: wanted / seconds for name, seconds in best.items()}


def growth(rounds: int) -> dict[int, float]:
    """Seconds per MiB by the size of the events, all in 1 KiB chunks and 64 MiB in sum.

    Beyond 32 MiB (mallopt(3), M_MMAP_THRESHOLD) every buffer is of fresh pages, which the kernel clears.
    """
    costs = {}
    for size in SIZES:
        chunks = cut(padded(b"data: ", size) * (BIG // size), STEP)
        best = float("inf")
        for _ in range(rounds):
            decoder = Decoder(max_line=BIG, max_event=BIG)
            start = time.process_time()
            found = sum(len(decoder.feed(chunk)) for chunk in chunks)
            best = min(best, time.process_time() - start)
            if found != BIG // size:
                sys.exit(f"found {found} events of {BIG // size}")
        costs[size] = best / (BIG >> 20)
    return costs


def main() -> None:
    """Print the table; exit 1 when a row does not hold. A row without a target is for information."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for case in CASES:
        speeds = measure(case, options.rounds)
        rival = max(RIVALS, key=speeds.__getitem__)
        print(case.name)
        for name, speed in speeds.items():
            print(f"  {name:24} {speed:12,.0f}/s  {speed / speeds[rival]:6.2f} x")
        ours = speeds["decoding"]
        ratio = ours / speeds[rival]
        rows.append(row(f"decoding {case.name}", ours, "events/s", rival, speeds[rival], ratio, AIM,
                        ratio >= AIM))  # fmt: skip
    costs = growth(max(2, options.rounds - 2))
    for size, cost in costs.items():
        print(f"events of {size / 1024:8,.0f} KiB in 1 KiB chunks: {cost * 1e3:.3f} ms/MiB")
    big, small = costs[BIG], costs[SIZES[0]]
    rows.append(row("a 64 MiB event in 1 KiB chunks", big * 1e3, "ms/MiB", "1 KiB events", small * 1e3,
                    big / small, LINEAR, big <= LINEAR * small))  # fmt: skip
    medium = costs[MEDIUM]
    rows.append(row("a 64 MiB event in 1 KiB chunks, for information", big * 1e3, "ms/MiB", "64 KiB events",
                    medium * 1e3, big / medium, None, None))  # fmt: skip
    print(
        f"a 64 MiB event: {big / small:.2f} x 1 KiB events (target {LINEAR}), {big / medium:.2f} x 64 KiB events"
    )
    for bad in (found for found in rows if found["holds"] is False):
        print(f"NOT HELD: {bad['metric']}: {bad['ratio']}, target {bad['target']}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(0 if all(found["holds"] is not False for found in rows) else 1)


def row(
    metric: str,
    value: float,
    unit: str,
    rival: str,
    rival_value: float,
    ratio: float,
    target: float | None,
    holds: bool | None,
) -> dict[str, object]:
    return {
        "metric": metric, "value": round(value, 4), "unit": unit, "rival": rival,
        "rival_value": round(rival_value, 4), "ratio": round(ratio, 3), "target": target, "holds": holds,
    }  # fmt: skip


if __name__ == "__main__":
    main()
