"""The decoder against Chromium's EventSource and npm's eventsource-parser.

python -m bench.conformance [--streams N] [--seed N] [--json FILE]

Exit 1 when they differ on a stream, 4 when one of them is not installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from bench.conformance import chromium, node
from bench.conformance.oracle import Absent
from bench.conformance.streams import CHROMIUM_LOSES, differences, generate, ours

ORACLES = {"eventsource-parser": node.ask, "chromium": chromium.ask}
SHOWN = 5  # differences, at most


def main() -> None:
    """Compare the decoders, print their differences, and exit with the documented code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=10_200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    streams = generate(options.streams, options.seed)
    rows, code = [], 0
    for name, ask in ORACLES.items():
        start = time.monotonic()
        asked = [stream for stream in streams if name != "chromium" or not CHROMIUM_LOSES.match(stream.whole)]
        try:
            bad = differences(asked, ask(asked))
        except Absent as error:
            print(f"{name}: not asked: {error}")
            code = 4
            continue
        events = sum(len(ours(stream)) for stream in asked)
        print(
            f"{name}: {len(asked) - len(bad)} of {len(asked)} streams alike, {events} events, "
            f"{len(streams) - len(asked)} left out, seed {options.seed}, {time.monotonic() - start:.1f} s"
        )
        for text in bad[:SHOWN]:
            print(f"  {text}")
        if bad:
            code = code or 1
        rows.append({
            "metric": "streams alike", "value": len(asked) - len(bad), "unit": "streams", "rival": name,
            "rival_value": len(asked), "ratio": round(1 - len(bad) / len(asked), 6), "target": 1.0,
            "holds": not bad,
        })  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
