"""The detector's goals, and its tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench._detector_cells import Cell, Results
from bench._rivals import RIVALS
from bench._services import Kind
from harness.core.metric import Judged
from harness.core.stats.distributions import median

ALARMS = {"counts": 0.001, "memory": 0.01}  # of healthy runs
FOUND = {"counts": 0.99, "objects": 0.99, "memory": 0.95, "idle-cpu": 0.95}
RIGHT = 0.98  # of the leaks found, by their driver
PASSED = 0.97  # of healthy runs are bounded within the default two minutes
MISSED = 0.002  # of the leaks of the asked size or more may pass
COVERED = (0.93, 0.97)  # of the true rates, by the 95 % interval: all rows together, and no row below


def percent(share: float) -> str:
    """``0``, ``0.1``, ``12``, ``100``: a percentage, with as few digits as distinguish it from the next value."""
    value = 100 * share
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def limit(group: str, kind: Kind) -> float:
    """The goal of one cell: the largest share of alarms, or the smallest share of leaks found."""
    if group.startswith("healthy"):
        return ALARMS["memory" if kind.key.judged is Judged.NOISY else "counts"]
    name = kind.key.kind if kind.key.kind in FOUND else kind.key.metric
    return FOUND.get(name, FOUND["counts"])


def table(group: str, cells: Sequence[Cell]) -> list[str]:
    """One Markdown table."""
    healthy = group.startswith("healthy")
    head = ["service", "held back", "ours", *([] if healthy else ["driver right", "95 % covers"])]
    head += ["passed" if healthy else "missed", "decided in 5 min", "seconds", *RIVALS]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for cell in cells:
        row = [cell.kind.name, "yes" if cell.kind.held_back else "", f"**{percent(cell.found)}**"]
        if not healthy:
            known = cell.rated > 0
            row += [percent(cell.right), percent(cell.covered / cell.rated) if known else "–"]
        row += [percent(cell.outcomes["bounded"] / cell.runs)]
        row += ["" if cell.decided is None else percent(cell.decided), f"{median(cell.seconds):.0f}"]
        row += [percent(cell.rivals[name] / cell.runs) for name in RIVALS]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def rows_of(results: Results) -> list[dict[str, object]]:
    """The goals, cell by cell, and the two that hold over all of them."""
    rows: list[dict[str, object]] = []

    def row(
        metric: str,
        value: float,
        target: float,
        holds: bool,
        rival: float,
        name: str,
        cell: Cell | None = None,
    ) -> None:
        more: dict[str, object] = {}
        if cell:
            more = {
                "runs": cell.runs, "held_back": cell.kind.held_back, "outcomes": dict(cell.outcomes),
                "drivers": dict(cell.drivers), "seconds": median(cell.seconds) if cell.seconds else None,
            }  # fmt: skip
        rows.append(
            {
                **more,
                "metric": metric, "value": round(value, 5), "unit": "share of runs", "rival": name,
                "rival_value": round(rival, 5), "ratio": round(value / rival, 4) if rival else None,
                "target": target, "holds": holds,
            }
        )  # fmt: skip

    for group, cells in results.items():
        healthy = group.startswith("healthy")
        for cell in cells:
            goal = limit(group, cell.kind)
            tell = min if healthy else max
            name = tell(RIVALS, key=lambda n: cell.rivals[n])  # the best of the others
            holds = cell.found <= goal if healthy else cell.found >= goal
            row(
                f"{group}: {cell.kind.name}",
                cell.found,
                goal,
                holds,
                cell.rivals[name] / cell.runs,
                name,
                cell,
            )
            passed = cell.outcomes["bounded"] / cell.runs
            if healthy and not cell.kind.longer:
                row(f"{group}: {cell.kind.name}, passed", passed, PASSED, passed >= PASSED, 0.0, "")
            elif not healthy:
                row(f"{group}: {cell.kind.name}, missed", passed, MISSED, passed <= MISSED, 0.0, "")
            if cell.decided is not None and (cell.kind.leaks or not cell.kind.true):
                row(f"{group}: {cell.kind.name}, decided in 5 minutes", cell.decided, PASSED,
                    cell.decided >= PASSED, 0.0, "")  # fmt: skip
            if not healthy and cell.rated:
                share = cell.covered / cell.rated
                row(f"{group}: {cell.kind.name}, 95 % covers", share, COVERED[0], share >= COVERED[0], 0.0,
                    "none gives one")  # fmt: skip
    leaks = [cell for group, cells in results.items() if group.startswith("leaking") for cell in cells]
    found = sum(cell.outcomes["leaking"] for cell in leaks)
    if found:
        right = sum(cell.drivers[cell.kind.leaks or ""] for cell in leaks) / found
        row("driver right", right, RIGHT, right >= RIGHT, 0.0, "none names one")
    rated = sum(cell.rated for cell in leaks)
    if rated:
        share = sum(cell.covered for cell in leaks) / rated
        row("rate's 95 % interval covers the truth", share, COVERED[0], COVERED[0] <= share <= COVERED[1], 0.0,
            "none gives one")  # fmt: skip
    return rows


def page(results: Results, rows: Sequence[dict[str, object]], runs: int) -> str:
    """What stands between the marks of docs/detector.md."""
    lines = [
        f"{runs:,} runs a row; figures in percent of them, time in seconds of the simulated run (median). No rule was "
        "tuned on the rows held back."
    ]
    for group, cells in results.items():
        lines += ["", f"### {group.capitalize()}", "", *table(group, cells)]
    lines += ["", "### Over all leaks", ""]
    lines += [
        f"- {r['metric']}: {percent(float(str(r['value'])))} %" for r in rows if ": " not in str(r["metric"])
    ]
    return "\n".join(lines)


def summary(cell: Cell) -> str:
    """One line: every outcome, the time within which 95 % of the runs ended, and wrong drivers and rates."""
    wrong = {d: n for d, n in cell.drivers.items() if d != cell.kind.leaks}
    late = sorted(cell.seconds)[int(0.95 * len(cell.seconds))]
    line = f"{cell.kind.name:50} {dict(cell.outcomes)} 95 % within {late:.0f} s"
    if wrong:
        line += f" wrong driver {wrong}"
    if cell.rated:
        line += f" covered {cell.covered}/{cell.rated} above {cell.below}"
    return line
