"""``harness reproduce``: reproduces the crash, its causes and its fixes, profile by profile."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness.cli.after_verdict import HISTORY_OPTIONS, AfterVerdict
from harness.cli.console import console as terminal
from harness.cli.interrupt import Interrupt
from harness.cli.reproduce_all import check_options, run_all_claims
from harness.cli.result import note_failures, view, write_json
from harness.core.after_verdict import attempt
from harness.core.errors import EXIT_INCONCLUSIVE, EXIT_INFRASTRUCTURE, EXIT_SERVICE, HarnessError
from harness.core.quote import terminal as quoted
from harness.core.record import Trial
from harness.core.verdict import Outcome
from harness.experiment.reproduce import (
    DEFAULT_PROFILES,
    LoadOverrides,
    ProfileSpec,
    choose,
    confirmed,
    describe,
    setup_for,
    with_comparisons,
)
from harness.experiment.run import Run
from harness.report.terminal import show_table
from harness.store.write import check_output


@click.command("reproduce", short_help="reproduce the crash, its causes and its fixes, profile by profile")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help=f"Reproduce this profile. Repeatable [default: {', '.join(DEFAULT_PROFILES)}].",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Runs of each profile; claims that compare two profiles are tested from 5 on.",
)
@click.option(
    "--connections", type=click.IntRange(1), help="Streams in all, per profile [default: the profile's]."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 20000), help="Streams open at once [default: the profile's]."
)
@click.option(
    "--real-time", is_flag=True, help="The original intervals: ticks of 5 s and 2 s, timeouts of 30 s."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run [default: reports/RUN-ID].")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the verdicts here.")
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the random choices of clients and broker.",
)
@click.option("--keep-going", is_flag=True, help="Continue after a profile that did not behave as expected.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Test every claim of the analysis, with repeats, and print one table.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="With --all: resume the run in this folder; its measurements are kept.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="With --all: trials that run at the same time.",
)
@click.option(
    "--max-time",
    default="45m",
    show_default=True,
    metavar="TIME",
    help="With --all: start no trial that would end later; the rest is marked as not measured yet.",
)
@click.option("--list", "list_only", is_flag=True, help="List the profiles and stop.")
@HISTORY_OPTIONS[0]
@HISTORY_OPTIONS[1]
@click.option("--quiet", is_flag=True, help="No progress; only the table.")
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Start the reference service with the defects of each profile, load it, and check whether it crashes, leaks or
    is bounded.

    \b
    harness reproduce                                  all six, about two minutes
    harness reproduce --profile upstream --repeat 5    one of them, five times
    harness reproduce --profile upstream --real-time   crashes about 30 s after start, as reported
    harness reproduce --all                            every claim of the analysis, up to 45 minutes
    harness reproduce --all --resume reports/claims-…  resumes after an interruption

    Exit codes: 0 when every profile behaved as expected, 1 when one did not, 2 usage, 3 interrupted, 4 infrastructure.
    """
    check_options(context, everything=options["everything"])
    out, seed, json_file, quiet = options["out"], options["seed"], options["json_file"], options["quiet"]
    check_output("--json", json_file)
    if options["everything"]:
        names = ("out", "resume", "jobs", "max_time", "seed", "json_file", "quiet")
        # Does not return: it raises click's Exit with the exit code.
        run_all_claims(**{name: options[name] for name in names})
    specs = describe()
    console = terminal()
    if options["list_only"]:
        for spec in specs.values():
            console.print(
                f"{spec.name:18} {spec.expected.value:10} {quoted(spec.summary)}",
                soft_wrap=True,
                markup=False,
            )
        return
    later = AfterVerdict(out=out, history=options["history"], notify=options["notify"], target=None)
    chosen = choose(specs, options["profiles"] or DEFAULT_PROFILES)
    overrides = LoadOverrides(options["connections"], options["concurrency"], options["real_time"])
    command_line = "harness reproduce " + shlex.join(f"--profile={name}" for name in options["profiles"])
    with Interrupt() as interrupt, view(console, quiet=quiet) as show:
        run = Run(command=command_line.strip(), seed=seed, out=out, interrupt=interrupt, show=show)
        problems = _run_profiles(run, chosen, overrides, options["repeat"], options["keep_going"])
    attempt(
        "comparing the profiles",
        lambda: run.replace_trials(with_comparisons(run.record.trials)),
        run.failures.append,
    )
    report = run.report()
    attempt("the JSON file", lambda: write_json(run, json_file), run.failures.append)
    attempt("the history", lambda: later.record(run), run.failures.append)
    attempt("the notification", later.notify, run.failures.append)
    show_table(run.record.trials, console)
    for line in problems:
        console.print(quoted(line), soft_wrap=True, markup=False)
    console.print(quoted(f"report: {report}", 4000), soft_wrap=True, markup=False)
    note_failures(run)
    raise click.exceptions.Exit(exit_code(run.record.trials, problems, stopped=interrupt.is_set()))


def _run_profiles(
    run: Run, specs: list[ProfileSpec], overrides: LoadOverrides, repeat: int, keep_going: bool
) -> list[str]:
    """Run every profile in turn. Returns the failures of the harness, and why profiles were left out, one line each."""
    problems: list[str] = []
    for spec in specs:
        for turn in range(repeat):
            if run.interrupt.is_set():
                return problems
            name = spec.name if repeat == 1 else f"{spec.name}-{turn + 1}"
            setup = setup_for(spec, overrides, name=name)
            try:
                trial = run.trial(setup, lambda trial, spec=spec: _confirm(trial, spec))  # type: ignore[misc]
            except HarnessError as error:
                problems.append(f"{name}: {error}")
                run.add_failed_trial(setup, str(error))
                if not keep_going:
                    return problems
                continue
            if not trial.about.confirmed and not keep_going and not run.interrupt.is_set():
                left = len(specs) * repeat - len(run.record.trials)
                if left:
                    problems.append(
                        f"stopped at {name}, which did not behave as expected; --keep-going runs the rest"
                    )
                return problems
    return problems


def _confirm(trial: Trial, spec: ProfileSpec) -> Trial:
    good, why = confirmed(trial, spec)
    return replace(trial, about=replace(trial.about, confirmed=good, note=why))


def exit_code(trials: tuple[Trial, ...], problems: list[str], *, stopped: bool) -> int:
    """0 when all behaved as expected. problems: see ``_run_profiles``. stopped: the user interrupted the run."""
    if stopped:
        return EXIT_INCONCLUSIVE
    outcomes = {trial.verdict.outcome for trial in trials if trial.verdict}
    if Outcome.INFRASTRUCTURE in outcomes:
        return EXIT_INFRASTRUCTURE
    if problems or not trials or not all(trial.about.confirmed for trial in trials):
        return EXIT_SERVICE
    return 0
