"""``--resume RUN`` of a soak: reads the command line of the run from its folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from harness.cli import secret
from harness.cli.service_options import CONFIDENTIAL
from harness.core.errors import ConfigError
from harness.core.redact import MASK
from harness.experiment.resume import Resumption, resumption

OPTION = "--resume"
FLAGS = ("--quiet",)  # options without a value that may be given beside --resume
# Options that may be given beside --resume, because they change only where the result goes.
OUTPUT = (
    "--max-size",
    "--json",
    "--junit",
    "--format",
    "--history",
    "--notify",
    "--target",
    "--prometheus",
    "--otlp",
)
# The address of a running service may change with a reboot, so these options may replace the stored ones.
PLACE = ("--pid", "--attach-port", "--probe-command", "--url", "--ready", "--pprof")
ARGUMENTS, RUN = "harness.soak.arguments", "harness.soak.run"  # names in click's context


class Resumable(click.Command):
    """A command that ``--resume`` restarts with the stored arguments of the run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the stored command line in place of ``--resume RUN``. Raises ConfigError for a run that cannot be
        resumed, and for an option that would change its plan."""
        run, rest = split_resume(args)
        if run is not None:
            found = resumption(Path(run))
            ctx.meta[RUN] = found
            try:
                args = resumed_arguments(found, rest)
            except ConfigError:
                found.directory.close()
                raise
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def stored_arguments(ctx: click.Context) -> list[str]:
    """The stored command line: secrets, and values of the options in CONFIDENTIAL, are ``***``."""
    return list(_hidden(secret.known().words(ctx.meta[ARGUMENTS])))


def resumed_run(ctx: click.Context) -> Resumption | None:
    """The run that ``--resume`` names."""
    found = ctx.meta.get(RUN)
    assert found is None or isinstance(found, Resumption)
    return found


def split_resume(args: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of ``--resume`` and the other arguments; None without it, or without its value."""
    end = args.index("--") if "--" in args else len(args)
    for index, word in enumerate(args[:end]):
        if word.startswith(f"{OPTION}="):
            return word.partition("=")[2], [*args[:index], *args[index + 1 :]]
        if word == OPTION and index + 1 < end:
            return args[index + 1], [*args[:index], *args[index + 2 :]]
    return None, list(args)


def resumed_arguments(found: Resumption, rest: Sequence[str]) -> list[str]:
    """The arguments of the resumed command. rest: given beside ``--resume``: nothing, options of the output, where the
    running service is found now, or the whole command line once more. Raises ConfigError."""
    plan, run = found.plan, found.directory.path
    if Path(plan.folder) != Path.cwd():
        raise ConfigError(
            f"{OPTION} {run}: it was started in {plan.folder}; change there first: cd {plan.folder}"
        )
    # The whole command line once more: it has the secrets, which the stored one lacks.
    if len(rest) == len(plan.arguments) and all(map(_matches, plan.arguments, rest)):
        return list(rest)
    # Everything after "--" belongs to the command of the service and cannot be replaced.
    end = plan.arguments.index("--") if "--" in plan.arguments else len(plan.arguments)
    stored = {_name(one): one for one in _options(plan.arguments[:end])}
    given = dict(_changeable(rest, run, stored))
    kept = [one for one in _options(plan.arguments[:end]) if _name(one) not in given]
    for option in (*kept, *([word] for word in plan.arguments[end:])):
        if any(MASK in word for word in option):
            name = _name(option) if option[0].startswith("-") else "the command"
            raise ConfigError(
                f"{OPTION} {run}: the secret of {name} was not stored; repeat the whole command line, with "
                f"{OPTION} {run}"
            )
    return [
        *(word for words in kept for word in words),
        *(word for words in given.values() for word in words),
        *plan.arguments[end:],
    ]


def _changeable(
    rest: Sequence[str], run: Path, stored: Mapping[str, list[str]]
) -> Iterator[tuple[str, list[str]]]:
    """Options of ``rest`` by name; raises ConfigError for one that would change the plan."""
    for option in _options(rest):
        name = _name(option)
        flag = name in FLAGS and len(option) == 1
        valued = len(option) + ("=" in option[0]) == 2
        if not (flag or (valued and (name in OUTPUT or (name in PLACE and name in stored)))):
            places = [one for one in PLACE if one in stored and "--" not in rest]
            raise ConfigError(
                f"{name}: a resumed soak keeps its plan; expected {OPTION} {run} alone, with "
                f"{', '.join((*FLAGS, *OUTPUT, *places))}, or with the whole original command line"
            )
        if name in ("--url", "--ready", "--pprof"):
            _check_only_address_differs(name, _value(stored[name]), _value(option), run)
        yield name, option


def _check_only_address_differs(name: str, stored: str, given: str, run: Path) -> None:
    """Raise ConfigError if more than the address of a service changed: a restarted service may have another one."""
    if not _matches(_after_the_address(stored), _after_the_address(given)):
        raise ConfigError(
            f"{name} {given}: a resumed soak keeps its plan; expected another host or port at most, as in {stored}; "
            f"{OPTION} {run} alone uses that one"
        )


def _after_the_address(url: str) -> str:
    """Path and query. A Unix-socket URL has the socket's path in its address; invalid URLs are refused elsewhere."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.path}?{parts.query}"


def _name(option: Sequence[str]) -> str:
    return option[0].partition("=")[0]


def _value(option: Sequence[str]) -> str:
    return option[1] if len(option) > 1 else option[0].partition("=")[2]


def _options(words: Sequence[str]) -> Iterator[list[str]]:
    """Each option with its values."""
    current: list[str] = []
    for word in words:
        follows = current and not word.startswith("-") and "=" not in current[0] and current[0] not in FLAGS
        if follows and len(current) == 1:
            current.append(word)
            continue
        if current:
            yield current
        current = [word]
    if current:
        yield current


def _matches(stored: str, given: str) -> bool:
    """Whether two arguments are equal, apart from stored secrets."""
    return re.fullmatch(".*".join(map(re.escape, stored.split(MASK))), given, re.DOTALL) is not None


def _hidden(words: Sequence[str]) -> Iterator[str]:
    """The words, with the values of the options in CONFIDENTIAL masked. A value @FILE stays: it is a path, which a
    resumed soak needs, and no secret."""
    is_value = False
    for word in words:
        name, equals, value = word.partition("=")
        if is_value and not word.startswith("@"):
            yield MASK
        elif equals and name in CONFIDENTIAL and not value.startswith("@"):
            yield f"{name}={MASK}"
        else:
            yield word
        is_value = word in CONFIDENTIAL and not is_value
