"""More inputs for the pinned decisions: what the plain scenarios leave out of a trial, and the smaller parts of the
core on seeded values."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import figures
from harness.core.budget import Budget
from harness.core.cycle import BrokerCount, CycleSpec, Ledger, Observation, Phase, Reading
from harness.core.history import trial_entry
from harness.core.holding import next_hold
from harness.core.judge.connected_findings import undecided
from harness.core.judge.selftest import claims, goal_from
from harness.core.judge.trial import judge, suspicion
from harness.core.measurement import measure
from harness.core.metric import Key
from harness.core.note import Note, NoteKind
from harness.core.record import About, ExitInfo, Restart, Trial
from harness.core.sample import Census
from tests.core.series import FDS, OBJECTS, trial

ROOT = Path(__file__).parents[2]
THREADS, TASKS, HEAP = Key("threads"), Key("tasks", "asyncio-task"), Key("memory", "heap-bytes")
ANONYMOUS, CPU, PEERS = Key("memory", "anonymous"), Key("idle-cpu"), Key("broker-peers")
LOST = Note(NoteKind.WORKER_LOST, "worker 1 was lost with 3 streams", {"worker": 1})
BUDGETS = (
    Budget(), Budget(), Budget(growth={"fds": 0.4}, pools={"threads": 40.0}),
    Budget(ceilings={"fds": 90.0, "memory/anonymous": 3e7}, per_hour={"memory": 1e5}),
    Budget(retain={"*": 5.0, "fds/close-wait": 40.0}, require_stream={"fds": 0.01}, require_hour={"threads": 50.0}),
)  # fmt: skip
BASE = {
    FDS: 30.0, Key("fds", "tcp-in"): 3.0, Key("fds", "close-wait"): 0.0, Key("fds", "eventfd"): 5.0, THREADS: 6.0,
    Key("threads", "worker"): 4.0, TASKS: 9.0, Key("mappings"): 90.0, OBJECTS: 6e4, HEAP: 8e6, ANONYMOUS: 2.5e7,
    CPU: 0.01, PEERS: 2.0, Key("processes"): 2.0,
}  # fmt: skip
SIZE = {OBJECTS: 4.0, HEAP: 700.0, ANONYMOUS: 3000.0, CPU: 1e-5, Key("mappings"): 0.5}


def _ledger(index: int, opened: int, turned: int, events: int, way: str, *, full: bool) -> Ledger:
    """What the clients of one cycle met. turned: streams that were refused; full: by a limit, otherwise by a policy."""
    by_mode = {"fin": opened - opened // 4, "rst": opened // 4} if way != "fin" else {"fin": opened}
    return Ledger(
        opened=opened, completed=opened - turned, failed=turned, events=events, comments=events // 7,
        bytes=90 * events, aborts=opened // 4 if way != "fin" else 0, rate_limited=0 if full else turned,
        stream_seconds=0.7 * opened, first_event_p50=0.01, first_event_p95=0.03, first_event_p99=0.04 + 0.01 * index,
        causes={"status-503" if full else "status-429": turned} if turned else {},
        by_mode={**by_mode, "stall": opened // 5 if way in ("stall", "mixed") else 0},
        answered=opened - turned, refused=turned, statuses={503 if full else 429: turned} if turned else {},
        peak=min(50, opened), bursts=int(opened > 0), invalid=opened // 9 if index % 4 == 3 else 0,
    )  # fmt: skip


def _finished(rng: random.Random, seed: int, seen: list[Observation], now: float, opened: int) -> Trial:
    """The trial of these observations, which ended at ``now`` after this many streams."""
    one = trial(
        [],
        observations=seen,
        retention=rng.choice((0.0, 0.0, 8.0, 30.0)),
        sensitivity=rng.choice((1e-3, 0.02)),
    )
    restarts = (Restart(len(seen) // 2, now / 2, 3.0, {FDS: 28.0}),) if seed % 4 == 1 else ()
    about = About(
        mode="stream", load="300 connections", soak=seed % 3 == 1, profile="fixed" if seed % 6 == 0 else "",
        runtime_version="3.11", ramp=(1, 2) if seed % 5 == 0 else (), confirmed=seed % 2 == 0, note="as said",
        peak_fds=90.0, peak_threads=9.0, peak_rss=4e7,
    )  # fmt: skip
    return replace(
        one, target=replace(one.target, runtime=("native", "python", "go", "node", "jvm")[seed % 5],
                            limits={"RLIMIT_NOFILE": 4096.0, "pids.max": 900.0, "memory.max": 6e7}),
        budget=BUDGETS[seed % len(BUDGETS)], restarts=restarts, about=about, ended=now, interrupted=seed % 9 == 4,
        infrastructure="the probe exited" if seed % 13 == 7 else None, initial=BASE if seed % 2 else {},
        exit=ExitInfo(-9, now, opened, ("x", "OSError: [Errno 24] Too many open files"), "cycle 9 (load)")
        if seed % 8 == 5 else None,
    )  # fmt: skip


def varied(seed: int) -> Trial:
    """A trial of a service with several causes: each key that grows follows a driver of its own, some are released
    without clients, and the run may have been resumed, refused or cut short."""
    rng = random.Random(1000 + seed)
    grows = rng.sample(sorted(BASE), rng.randrange(0, 5))
    follows = {
        key: rng.choice(("opened", "answered", "events", "aborts", "cycles", "seconds", "stalls"))
        for key in grows
    }
    each = {key: rng.choice((1.0, 1.0, 0.3, 0.02)) * SIZE.get(key, 1.0) for key in grows}
    swept = set(rng.sample(grows, len(grows) // 2)) if rng.random() < 0.5 else set()
    refuses, noisy = rng.random() < 0.25, rng.random() < 0.3
    done = dict.fromkeys(("opened", "answered", "events", "aborts", "cycles", "seconds", "stalls"), 0.0)
    held = dict.fromkeys(grows, 0.0)
    now, seen = 0.0, list[Observation]()
    for index in range(rng.randrange(9, 30)):
        phase = Phase.WARMUP if index < 3 else rng.choice(
            (Phase.LOAD, Phase.LOAD, Phase.LOAD, Phase.LOAD, Phase.IDLE, Phase.ATTRIBUTION, Phase.RETENTION)
        )  # fmt: skip
        opened = 0 if phase in (Phase.IDLE, Phase.RETENTION) else rng.choice((50, 300, 600, 1200, 2400))
        way = rng.choice(("fin", "mixed", "rst", "rst-early", "stall"))
        full = seed % 6 == 5 and index > 9  # it has run into a limit: nothing is answered any more
        turned = opened if full else opened // 3 if refuses else 0
        silent = (2 * opened) // 3 if seed % 7 == 3 and index > 7 else 0
        events, stalls = (
            (opened - turned) * rng.choice((1, 1, 3)),
            opened // 5 if way in ("stall", "mixed") else 0,
        )
        load, rest = (opened / 400 if opened else rng.choice((1.0, 3.0))), rng.choice((1.5, 2.0, 6.0))
        rest += 20.0 * (phase is Phase.RETENTION)
        step = {
            "opened": opened, "answered": opened - turned, "events": events,
            "aborts": opened // 4 if way != "fin" else 0,
            "cycles": float(opened > 0), "seconds": load + rest, "stalls": stalls,
        }  # fmt: skip
        for key in grows:
            held[key] = (
                0.0
                if key in swept and phase is Phase.RETENTION
                else held[key] + each[key] * step[follows[key]]
            )
        done = {name: amount + step[name] for name, amount in done.items()}
        levels = {
            key: level + float(int(held.get(key, 0.0)) if SIZE.get(key, 1.0) >= 0.5 else held.get(key, 0.0))
            + (rng.choice((0, 0, 1, 3)) * SIZE.get(key, 1.0) if noisy else 0.0)
            for key, level in BASE.items()
            if rng.random() > 0.01
        }  # fmt: skip
        ledger = replace(
            _ledger(index, opened, turned, events, way, full=full),
            stalls=silent, seconds=load, clients=min(int(done["opened"]), 700),
            saturated=index == 5 and seed % 7 == 0, notes=(LOST,) if index == 6 and seed % 5 == 0 else (),
        )  # fmt: skip
        census = Census(
            now, {"tcp-in": 3, "eventfd": 5 + int(held.get(Key("fds", "eventfd"), 0))}, {"CLOSE_WAIT": index},
            {"worker": 4}, {"stack": 6}, {"rss": 30_000_000}, unreadable=("fds of 7",) if seed % 11 == 0 else (),
        )  # fmt: skip
        spec = CycleSpec(index, opened, 50 if index % 3 else 25, 1.0, rng.choice((1, 1, 0, 3)), way, ("/a", "/b"),
                         phase, fault="silence" if index == 8 and seed % 4 == 0 else "")  # fmt: skip
        broker = BrokerCount(2, 2, 2 * opened, 2 * opened - index, index) if seed % 3 == 0 else None
        settled = rng.random() > 0.06
        seen.append(
            Observation(
                spec, ledger, levels, now, now + load + rest, now + load, settled, "" if settled else "fds",
                close_lag=rng.choice((0.1, 0.4, 3.5)), broker=broker, census=census if index % 2 else None,
                idle_counts=tuple(
                    (now + load + 0.25 * n, levels.get(FDS, 30.0) + max(0, 3 - n), 6.0) for n in range(4)
                ),
            )
        )  # fmt: skip
        now += load + rest
    return _finished(rng, seed, seen, now, int(done["opened"]))


def everything(one: Trial) -> dict[str, Any]:
    """What is made of a trial beside its verdict."""
    verdict = judge(one)
    whole = replace(one, verdict=verdict)
    ledgers = [each.ledger for each in one.observations]
    return {
        "verdict": verdict,
        "suspicion": [suspicion(replace(one, observations=one.observations[:n])) for n in (6, 12)],
        "measure": measure(whole),
        "entry": trial_entry(whole, None),
        "claims": {str(key): value for key, value in claims(one).items()},
        "goal": goal_from(one),
        "undecided": undecided(one),
        "figures": [*figures.of_growth(verdict), *figures.of_levels(one), *figures.of_streams(ledgers),
                    *figures.of_verdict(verdict), *figures.of_census(one.observations[-1].census)],
    }  # fmt: skip


def holding(seed: int) -> dict[str, Any]:
    """Holds until no other is wanted: readers and stalled readers cost bytes, objects and descriptors of their own."""
    rng = random.Random(2000 + seed)
    rates = {key: rng.choice((0.0, 0.0, 1.0, 6.0)) * size for key, size in (
        (FDS, 0.02), (OBJECTS, 40.0), (HEAP, 9e3), (ANONYMOUS, 1e4))}  # fmt: skip
    stops = {key: rng.choice((1e9, 1e9, 3.0)) for key in rates}
    readers, mute, events = rng.choice((0, 1, 1)), rng.choice((0, 1, 4)), rng.choice((0.5, 20.0))
    now = trial([], observations=[], budget=rng.choice(BUDGETS), retention=rng.choice((0.0, 60.0)))
    now = replace(now, target=replace(now.target, runtime=rng.choice(("python", "go"))))
    plain = CycleSpec(0, 300, rng.choice((50, 1)), 2.0, paths=("/a",))
    steps, start = list[Any](), 0.0
    while step := next_hold(now, plain, rng.choice((4.0, 6.0)), 80.0):
        steps.append((step.stalled, step.connections, step.dwell))
        reading = step.connections - step.stalled
        clients = readers * reading + mute * step.stalled

        def level(key: Key, t: float, clients: int = clients) -> float:
            return BASE[key] + rates[key] * min(t, stops[key]) * clients

        read = tuple(
            Reading(start + t, {key: level(key, t) for key in rates}, int(events * t * reading) if seed % 2 else None)
            for t in (0.5 * n for n in range(1, int(2 * step.dwell)))
        )  # fmt: skip
        kept = {key: BASE[key] if rng.random() < 0.8 else level(key, step.dwell) for key in rates}
        ledger = Ledger(opened=step.connections, completed=step.connections, answered=step.connections,
                        seconds=step.dwell, events=int(events * step.dwell * reading))  # fmt: skip
        one = Observation(
            step, ledger, kept, start, start + step.dwell + 1, start + step.dwell, connected=read
        )
        now = replace(now, observations=(*now.observations, one))
        start += step.dwell + 1
    load = [one for one in varied(seed).observations if one.spec.phase is not Phase.RETENTION]
    moved = [replace(one, started=one.started + start, ended=one.ended + start,
                     load_ended=(one.load_ended or 0.0) + start) for one in load]  # fmt: skip
    whole = replace(now, observations=(*now.observations, *moved), ended=start + 90.0)
    return {"steps": steps, "undecided": undecided(now), "verdict": judge(now), "whole": judge(whole)}


def variations() -> Iterator[tuple[str, Any]]:
    """Every scenario of this module by its name."""
    for seed in range(60):
        yield f"varied {seed}", lambda seed=seed: everything(varied(seed))
    for seed in range(24):
        yield f"holding {seed}", lambda seed=seed: holding(seed)
